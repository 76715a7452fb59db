package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
)

// appendMySQL sends everything in one round trip, if the connection can do that
// and it is not too long.
func (s *Store) appendMySQL(ctx context.Context, q SQL, head []any, inserts []insert, end bool) (tid int64, committed bool, err error) {
	size, tooLong := s.checkSize(inserts)
	if tooLong != nil {
		return 0, false, tooLong
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
		tid, committed, err = s.appendAtOnce(ctx, q, head, inserts, end)
	} else {
		if s.batches && end { // else it goes with the rest
			if _, err := q.ExecContext(ctx, s.dialect.stillOpen); err != nil {
				return 0, false, fmt.Errorf("the transaction has ended before its commit: %w", err)
			}
		}
		tid, err = s.appendInSteps(ctx, q, head, inserts)
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
func (s *Store) checkSize(inserts []insert) (all int64, err error) {
	for _, in := range inserts {
		size := int64(1000)
		for _, row := range in.rows {
			for _, v := range row {
				switch v := v.(type) {
				case string:
					size += int64(len(v)) + escapes(v)
				case sql.NullString:
					size += int64(len(v.String)) + escapes(v.String)
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
func (s *Store) appendInSteps(ctx context.Context, q SQL, head []any, inserts []insert) (tid int64, err error) {
	if _, err := q.ExecContext(ctx, s.SQL(s.dialect.allocate[0])); err != nil {
		return 0, err
	}
	if err := limit.QueryRow(ctx, q, s.SQL(readTID)).Scan(&tid); err != nil {
		return 0, err
	}
	if _, err := q.ExecContext(ctx, s.SQL(s.allocateMySQL()), head...); err != nil {
		return 0, err
	}
	return tid, s.insertEach(ctx, q, tid, inserts)
}

// appendAtOnce sends everything in one round trip, and COMMIT with it: so the
// counter, which all writers wait for, is locked for no longer than the server
// works, and a process that is stopped in the middle stops nobody.
func (s *Store) appendAtOnce(ctx context.Context, q SQL, head []any, inserts []insert, end bool) (tid int64, committed bool, err error) {
	var b strings.Builder
	if end {
		b.WriteString(s.dialect.stillOpen + "; ")
	}
	b.WriteString(s.dialect.allocate[0] + "; " + s.allocateMySQL() + "; ")
	args := head
	for _, in := range inserts {
		args = in.write(&b, args, s.dialect.tid)
		b.WriteString("; ")
	}
	b.WriteString("SELECT " + s.dialect.tid + " LIMIT 1")
	if end {
		b.WriteString("; COMMIT")
	}
	rows, err := q.QueryContext(ctx, s.SQL(b.String()), args...)
	if err != nil {
		return 0, false, inDoubt(err, end && !s.dialect.answered(err)) // an answer is to a statement before COMMIT
	}
	defer rows.Close()
	if rows.Next() {
		err = rows.Scan(&tid)
	}
	for rows.NextResultSet() {
	}
	if err == nil {
		err = rows.Err()
	}
	if err == nil {
		err = rows.Close()
	}
	if err == nil && tid == 0 {
		err = sql.ErrNoRows
	}
	return tid, err == nil && end, inDoubt(err, end && err != nil && !s.dialect.answered(err))
}
