package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strings"

	sessions "github.com/tracbus/tracbus/internal/session"
	"github.com/tracbus/tracbus/internal/sqltext"
	"github.com/tracbus/tracbus/internal/store/insert"
)

// callMySQL has journal_append take a tid and write a row. Its CASE makes a number null if
// the session bends results, and so the table refuses the row.
const callMySQL = "CALL {journal_append}(?, ?, ?, CASE WHEN STRAIGHT THEN ? END, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

// appendMySQL calls the procedure. The rows that the transaction has besides go with it in
// one round trip, and so does COMMIT, if the connection can do that and it is not too long:
// then a process that is stopped in the middle holds back no reader.
func (s *Store) appendMySQL(ctx context.Context, q SQL, slots []int64, rows [][]any, end bool) (tid int64, committed bool, err error) {
	size, tooLong := s.checkSize(rows)
	if tooLong != nil {
		return 0, false, tooLong
	}
	defer func() {
		if err != nil && s.dialect.answered(err) {
			err = s.blame(ctx, q, s.explain(ctx, q, err))
		}
	}()
	c, own := q.(*Conn)
	var session int64
	if own {
		if err := c.own.Failed(); err != nil { // nothing is sent, so that nothing is in doubt
			return 0, false, err
		}
		c.own.Ends()
		session = c.Session.ID
	} else if session, err = sessions.Number(ctx, q); err != nil {
		return 0, false, err
	}
	defer s.sessions.WaitOn(ctx, session)()
	var b strings.Builder
	atOnce := s.batches && size < maxAtOnce
	end = end && atOnce
	if len(slots) > 1 {
		if err := s.lockMany(ctx, q, &b, slots, atOnce); err != nil {
			return 0, false, err
		}
	}
	args := append([]any{own, nil, nil}, rows[0][1:]...)
	if own && session != 0 { // it was asked for when the connection was first used
		args[1] = session
	}
	if len(slots) == 1 {
		args[2] = slots[0]
	}
	straight := s.straight
	if own {
		straight += " AND @@autocommit"
	}
	b.WriteString(strings.Replace(callMySQL, "STRAIGHT", straight, 1))
	rest := rows[1:]
	if atOnce {
		for len(rest) > 0 {
			var some [][]any
			some, rest = insert.Split(rest)
			b.WriteString("; ")
			args = insert.Write(&b, args, some, "LAST_INSERT_ID()")
		}
	}
	if end {
		b.WriteString("; COMMIT")
	}
	if tid, err = takeMySQL(ctx, q, s.SQL(b.String()), args); err != nil {
		return 0, false, inDoubt(err, end && !s.dialect.answered(err)) // an answer is to a statement before COMMIT
	}
	if own {
		s.sessions.Heard(c.own.Conn)
	}
	return tid, end, s.insertEach(ctx, q, tid, rest)
}

// takeMySQL runs a text of which the first rows are the tid.
func takeMySQL(ctx context.Context, q SQL, text string, args []any) (tid int64, err error) {
	answer, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	defer answer.Close()
	if answer.Next() {
		err = answer.Scan(&tid)
	}
	for answer.NextResultSet() {
	}
	err = cmp.Or(err, answer.Err(), answer.Close())
	if err == nil && tid == 0 {
		err = sql.ErrNoRows
	}
	return tid, err
}

// lockMany locks more than one slot, in the order of the index: by what it writes, if all
// goes at once.
func (s *Store) lockMany(ctx context.Context, q SQL, b *strings.Builder, slots []int64, atOnce bool) error {
	if atOnce {
		list := strings.ReplaceAll(strings.Trim(fmt.Sprint(slots), "[]"), " ", ", ")
		b.WriteString("SELECT count(*) INTO @tracbus_slot FROM {journal_lock} WHERE slot IN (" + list + ") LIMIT 1 FOR UPDATE; ")
		return nil
	}
	for _, slot := range slots {
		if err := s.lockMySQL(ctx, q, slot); err != nil {
			return err
		}
	}
	return nil
}

// maxAtOnce is how long the text of one round trip may become on MySQL: less than
// the driver's own limit, and short enough for the server to read at once.
const maxAtOnce = 8 << 20

// checkSize refuses what is longer than the server reads in one packet: it would
// close the connection and not say why. It returns how long all is together.
func (s *Store) checkSize(rows [][]any) (all int64, err error) {
	for rest := rows; len(rest) > 0; {
		var some [][]any
		some, rest = insert.Split(rest)
		size := int64(5000)
		for _, row := range some {
			size += sqltext.MySQLLength(row)
		}
		if size > s.packet {
			return 0, fmt.Errorf("rows of %d bytes for one statement: the server's max_allowed_packet is %d", size, s.packet)
		}
		all += size
	}
	return all, nil
}
