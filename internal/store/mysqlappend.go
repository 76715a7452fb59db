package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
)

// What takes a tid. The counter's row is locked from here to the commit, so tids follow
// the commits and have no gaps. A reader stops at the first that it does not see. A counter
// that is missing, or not above what is pruned, makes the tid null, which the table refuses,
// and so does a session that bends results. LAST_INSERT_ID keeps the tid for the session.
const (
	countMySQL = "UPDATE {journal_head} SET tid = tid + 1 WHERE one = 1"
	takeMySQL  = "LAST_INSERT_ID((SELECT h.tid FROM {journal_head} h JOIN {journal_facts} f ON f.one = h.one WHERE h.one = 1 AND h.tid > f.floor AND "
	tookMySQL  = "LAST_INSERT_ID()"
)

// insertMySQL appends the INSERTs of rows to a text, and their values to args.
func (s *Store) insertMySQL(b *strings.Builder, rows [][]any) (args []any) {
	args = writeInsert(b, nil, rows[:1], takeMySQL+s.bent+" = ''))")
	for rows = rows[1:]; len(rows) > 0; {
		var some [][]any
		some, rows = split(rows)
		b.WriteString("; ")
		args = writeInsert(b, args, some, tookMySQL)
	}
	return args
}

// appendMySQL sends everything in one round trip, if the connection can do that
// and it is not too long.
func (s *Store) appendMySQL(ctx context.Context, q SQL, slots []int64, rows [][]any, end bool) (tid int64, committed bool, err error) {
	size, tooLong := s.checkSize(rows)
	if tooLong != nil {
		return 0, false, tooLong
	}
	if !s.batches {
		for _, slot := range slots {
			if err := s.lockMySQL(ctx, q, slot); err != nil {
				return 0, false, err
			}
		}
		slots = nil
	}
	session, err := s.session(ctx, q)
	if err != nil {
		return 0, false, err
	}
	defer s.waitOn(ctx, session.id)()
	defer func() {
		if err != nil && s.dialect.answered(err) {
			err = s.blame(ctx, q, s.explain(ctx, q, err))
		}
	}()
	if s.batches && size < maxAtOnce {
		tid, committed, err = s.appendAtOnce(ctx, q, slots, rows, end)
	} else {
		if s.batches && end { // else it goes with the rest
			if _, err := q.ExecContext(ctx, s.dialect.stillOpen); err != nil {
				return 0, false, fmt.Errorf("the transaction has ended before its commit: %w", err)
			}
		}
		tid, err = s.appendInSteps(ctx, q, slots, rows)
	}
	return tid, committed, err
}

// waitOn keeps ctx from ending for as long as the server works for a session, or has it
// wait for the counter, up to Limits.Lock. A session that rests while its answer is
// waited for has lost it: a KILL QUERY between two statements of one round trip makes
// the server drop the rest, and say nothing. It is called with ctx bounded, and the
// function that it returns before the bound is over.
func (s *Store) waitOn(ctx context.Context, session int64) (stop func()) {
	asking, cancel := context.WithTimeout(context.Background(), s.limits.Lock)
	done := make(chan struct{})
	timer := time.AfterFunc(s.limits.Answer/2, func() {
		defer close(done)
		for s.working(asking, session) {
			limit.Progress(ctx)
			if !Sleep(asking, s.limits.Answer/4) {
				return
			}
		}
	})
	return func() {
		cancel()
		if !timer.Stop() {
			<-done
		}
	}
}

// working says whether the server works for a session.
func (s *Store) working(ctx context.Context, session int64) bool {
	ctx, cancel := context.WithTimeout(ctx, s.limits.Answer/4)
	defer cancel()
	var n int
	err := limit.QueryRow(ctx, s.db, s.SQL("SELECT count(*) FROM information_schema.processlist WHERE id = ? AND command <> 'Sleep'"), session).Scan(&n)
	return err == nil && n > 0
}

// maxAtOnce is how long the text of one round trip may become on MySQL: less than
// the driver's own limit, and short enough for the server to read at once.
const maxAtOnce = 8 << 20

// checkSize refuses what is longer than the server reads in one packet: it would
// close the connection and not say why. It returns how long all is together, as
// text in which every second byte may have to be escaped.
func (s *Store) checkSize(rows [][]any) (all int64, err error) {
	for rest := rows; len(rest) > 0; {
		var some [][]any
		some, rest = split(rest)
		size := int64(5000)
		for _, row := range some {
			for _, v := range row {
				if text, ok := v.(string); ok {
					size += int64(len(text)) + escapes(text)
				}
				size += 30
			}
		}
		if size > s.packet {
			return 0, fmt.Errorf("rows of %d bytes for one statement: the server's max_allowed_packet is %d", size, s.packet)
		}
		all += size
	}
	return all, nil
}

// escapes counts the bytes that take two in the text of a statement.
func escapes(s string) (n int64) {
	for i := range len(s) {
		switch s[i] {
		case 0, '\n', '\r', '\x1a', '\'', '"', '\\':
			n++
		}
	}
	return n
}

// appendInSteps takes a round trip for each statement.
func (s *Store) appendInSteps(ctx context.Context, q SQL, slots []int64, rows [][]any) (tid int64, err error) {
	for _, slot := range slots {
		if err := s.lockMySQL(ctx, q, slot); err != nil {
			return 0, err
		}
	}
	if _, err := q.ExecContext(ctx, s.SQL(countMySQL)); err != nil {
		return 0, err
	}
	if err := limit.QueryRow(ctx, q, s.SQL(readTID)).Scan(&tid); err != nil {
		return 0, err
	}
	var b strings.Builder
	args := s.insertMySQL(&b, rows[:1])
	if _, err := q.ExecContext(ctx, s.SQL(b.String()), args...); err != nil {
		return 0, err
	}
	return tid, s.insertEach(ctx, q, tid, rows[1:])
}

// appendAtOnce sends everything in one round trip, and COMMIT with it: so the
// counter, which all writers wait for, is locked for no longer than the server
// works, and a process that is stopped in the middle stops nobody.
func (s *Store) appendAtOnce(ctx context.Context, q SQL, slots []int64, rows [][]any, end bool) (tid int64, committed bool, err error) {
	var b strings.Builder
	if end {
		b.WriteString(s.dialect.stillOpen + "; ")
	}
	if len(slots) > 0 { // in the order of the index, and without a result
		list := strings.ReplaceAll(strings.Trim(fmt.Sprint(slots), "[]"), " ", ", ")
		b.WriteString("SELECT max(slot) INTO @tracbus_slot FROM {journal_lock} WHERE slot IN (" + list + ") LIMIT 1 FOR UPDATE; ")
	}
	b.WriteString(countMySQL + "; ")
	args := s.insertMySQL(&b, rows)
	b.WriteString("; SELECT " + tookMySQL + " LIMIT 1")
	if end {
		b.WriteString("; COMMIT")
	}
	answer, err := q.QueryContext(ctx, s.SQL(b.String()), args...)
	if err != nil {
		return 0, false, inDoubt(err, end && !s.dialect.answered(err)) // an answer is to a statement before COMMIT
	}
	defer answer.Close()
	if answer.Next() {
		err = answer.Scan(&tid)
	}
	for answer.NextResultSet() {
	}
	if err == nil {
		err = answer.Err()
	}
	if err == nil {
		err = answer.Close()
	}
	if err == nil && tid == 0 {
		err = sql.ErrNoRows
	}
	return tid, err == nil && end, inDoubt(err, end && err != nil && !s.dialect.answered(err))
}
