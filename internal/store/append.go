package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

const (
	journalColumns = `(tid, seq, id, "change", time, author, ipnr, authenticated, comment, parts, state)`
	historyColumns = `(tid, seq, id, field, old_type, old_value, new_type, new_value)`
)

// chunk is how many values one statement may have; the databases' own limits
// are from 32,766 up.
const chunk = 10_000

// CommitsOnAppend says whether [Store.Append] commits in the same round trip, and sees to
// it that the transaction stands.
func (s *Store) CommitsOnAppend() bool { return s.batches }

// Append takes a tid and writes the rows of changes: the last thing in a
// transaction, for from here on it may hold up others. Where end is true and the
// connection can do it, COMMIT goes with it in the same round trip; committed
// says so. An error leaves the transaction to be rolled back, unless it wraps
// [ErrInDoubt].
func (s *Store) Append(ctx context.Context, q SQL, mark, origin string, changes []Change, end bool) (tid int64, committed bool, err error) {
	var realms []string
	for _, c := range changes {
		if !slices.Contains(realms, c.Realm) {
			realms = append(realms, c.Realm)
		}
	}
	head := []any{mark, origin, strings.Join(realms, ",")}
	inserts := s.inserts(changes, realms)
	switch s.dialect.Name {
	case "postgresql":
		tid, err = s.appendPostgreSQL(ctx, q, head, inserts)
	case "mysql":
		size, tooLong := s.checkSize(inserts)
		if tooLong != nil {
			return 0, false, tooLong
		}
		if s.batches && size < maxAtOnce {
			return s.appendAtOnce(ctx, q, head, inserts, end)
		}
		if s.batches && end { // else it goes with the rest
			if _, err := q.ExecContext(ctx, s.dialect.stands); err != nil {
				return 0, false, fmt.Errorf("the transaction has ended before its commit: %w", err)
			}
		}
		tid, err = s.appendMySQL(ctx, q, head, inserts)
	default:
		tid, err = s.appendSQLite(ctx, q, head, inserts)
	}
	return tid, false, err
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

// insert is one INSERT of many rows, which all begin with the tid.
type insert struct {
	into   string // table and columns
	rows   [][]any
	tuples int // values in a row, without the tid
}

// inserts returns what writes the changes, realm by realm, in statements of a
// bearable size.
func (s *Store) inserts(changes []Change, realms []string) (all []insert) {
	for _, realm := range realms {
		journal := insert{into: "{" + realm + "_journal} " + journalColumns, tuples: 10}
		history := insert{into: "{" + realm + "_history} " + historyColumns, tuples: 7}
		for i, c := range changes {
			if c.Realm != realm {
				continue
			}
			authenticated := 0
			if c.Authenticated {
				authenticated = 1
			}
			journal.rows = append(journal.rows, []any{i, c.ID, c.Kind, c.Time, c.Author, c.IPNR, authenticated, c.Comment, c.Attrs, c.State})
			for _, f := range c.Fields {
				history.rows = append(history.rows, []any{i, c.ID, f.Name, f.Old.Type, f.Old.Text, f.New.Type, f.New.Text})
			}
		}
		for _, in := range []insert{journal, history} {
			for len(in.rows) > 0 {
				n := bearable(in.rows, chunk/in.tuples)
				all = append(all, insert{in.into, in.rows[:n], in.tuples})
				in.rows = in.rows[n:]
			}
		}
	}
	return all
}

// bearable returns how many of the first rows one statement takes: up to most,
// and not many that are long.
func bearable(rows [][]any, most int) int {
	bytes := 0
	for n, row := range rows[:min(len(rows), most)] {
		for _, v := range row {
			switch v := v.(type) {
			case string:
				bytes += len(v)
			case sql.NullString:
				bytes += len(v.String)
			}
		}
		if n > 0 && bytes > longStatement {
			return n
		}
	}
	return min(len(rows), most)
}

// longStatement is from where on rows go in statements of their own.
const longStatement = 1 << 20

// write appends the statement's text, with tid in the place of the tid, and its
// values. A tid that is a mark has its value before each row's.
func (in insert) write(b *strings.Builder, args []any, tid string, value ...any) []any {
	b.WriteString("INSERT INTO " + in.into + " VALUES ")
	row := "(" + tid + strings.Repeat(", ?", in.tuples) + ")"
	for i, values := range in.rows {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(row)
		args = append(append(args, value...), values...)
	}
	return args
}

// appendPostgreSQL sends all in one statement: the function that allocates is
// called once, for a WITH that has side effects is evaluated once.
func (s *Store) appendPostgreSQL(ctx context.Context, q SQL, head []any, inserts []insert) (tid int64, err error) {
	var b strings.Builder
	args, n := head, 0
	b.WriteString("WITH t AS (" + s.dialect.allocate[0])
	if c, ok := q.(*Conn); ok && c.began != "" { // else without a tid, which no table takes
		b.WriteString(" WHERE now()::text = ?")
		args = append(args, c.began)
	}
	b.WriteString(")")
	for ; n < len(inserts) && len(args) < chunk; n++ {
		fmt.Fprintf(&b, ", i%d AS (", n)
		args = inserts[n].write(&b, args, s.dialect.tid)
		b.WriteString(")")
	}
	b.WriteString(" SELECT tid FROM t")
	if err := q.QueryRowContext(ctx, s.SQL(b.String()), args...).Scan(&tid); err != nil {
		return 0, err
	}
	return tid, s.rest(ctx, q, tid, inserts[n:])
}

// rest sends the inserts of a tid that is known, one by one.
func (s *Store) rest(ctx context.Context, q SQL, tid int64, inserts []insert) error {
	for _, in := range inserts {
		var b strings.Builder
		args := in.write(&b, nil, "?", tid)
		if _, err := q.ExecContext(ctx, s.SQL(b.String()), args...); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) appendSQLite(ctx context.Context, q SQL, head []any, inserts []insert) (tid int64, err error) {
	result, err := q.ExecContext(ctx, s.SQL(s.dialect.allocate[0]), head...)
	if err != nil {
		return 0, err
	}
	if tid, err = result.LastInsertId(); err != nil {
		return 0, err
	}
	return tid, s.rest(ctx, q, tid, inserts)
}

// readTID asks for the tid that this transaction has taken; its row is locked.
const readTID = "SELECT tid FROM {journal_head} WHERE one = 1"

func (s *Store) appendMySQL(ctx context.Context, q SQL, head []any, inserts []insert) (tid int64, err error) {
	if _, err := q.ExecContext(ctx, s.SQL(s.dialect.allocate[0])); err != nil {
		return 0, err
	}
	if err := q.QueryRowContext(ctx, s.SQL(readTID)).Scan(&tid); err != nil {
		return 0, err
	}
	if _, err := q.ExecContext(ctx, s.SQL(s.dialect.allocate[1]), head...); err != nil {
		return 0, err
	}
	return tid, s.rest(ctx, q, tid, inserts)
}

// appendAtOnce sends everything in one round trip, and COMMIT with it: so the
// counter, which all writers wait for, is locked for no longer than the server
// works, and a process that is stopped in the middle stops nobody.
func (s *Store) appendAtOnce(ctx context.Context, q SQL, head []any, inserts []insert, end bool) (tid int64, committed bool, err error) {
	if c, ok := q.(*Conn); ok && end && c.Session == 0 { // nothing was locked
		if err := c.QueryRowContext(ctx, "SELECT connection_id()").Scan(&c.Session); err != nil {
			return 0, false, err
		}
	}
	var b strings.Builder
	if end {
		b.WriteString(s.dialect.stands + "; ")
	}
	b.WriteString(s.dialect.allocate[0] + "; " + s.dialect.allocate[1] + "; ")
	args := head
	for _, in := range inserts {
		args = in.write(&b, args, s.dialect.tid)
		b.WriteString("; ")
	}
	b.WriteString("SELECT " + s.dialect.tid)
	if end {
		b.WriteString("; COMMIT")
	}
	rows, err := q.QueryContext(ctx, s.SQL(b.String()), args...)
	if err != nil {
		return 0, false, inDoubt(err, end && !s.answered(err)) // an answer is to a statement before COMMIT
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
	return tid, err == nil && end, inDoubt(err, end && err != nil && !s.answered(err))
}
