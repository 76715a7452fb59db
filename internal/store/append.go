package store

import (
	"cmp"
	"context"
	"strings"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// insertInto begins an INSERT of changes; their values are of the columns after the tid.
const (
	insertInto = `INSERT INTO {journal_change} (tid, seq, changes, commit_id, origin, realm, id, "change", time, author, ipnr, authenticated, env, comment, parts, document) `
	values     = 15
)

// chunk is how many values one statement may have; the databases' own limits
// are from 32,766 up.
const chunk = 10_000

// MustCheckOpen says whether [Store.StillOpen] has to be asked before a transaction
// of its own is committed: unless Append is called in it, and sees to that.
func (s *Store) MustCheckOpen(appends bool) bool {
	return !appends || !s.batches && !s.dialect.checksOnAppend
}

// Append locks what is to be locked yet, takes a tid and writes the rows of changes, of which there is
// one at least: the last thing in a transaction, because from here on it may hold up
// others. If end is true and the connection can do it, COMMIT goes with it in the same
// round trip; committed says so. After an error the transaction has to be rolled back,
// unless the error wraps [ErrInDoubt].
func (s *Store) Append(ctx context.Context, q SQL, commitID, origin string, changes []Change, end bool) (tid int64, committed bool, err error) {
	slots, _ := s.slots(q)
	most := s.limits.Answer
	if len(slots) > 0 && !s.batches { // else what waits is seen to
		most = s.limits.Lock
	}
	if c, own := q.(*Conn); !own || c.turn == nil { // which waits for nothing now
		defer s.Within(most, &ctx, &err)()
	}
	rows := make([][]any, len(changes))
	for i, c := range changes {
		rows[i] = []any{i, len(changes), commitID, cmp.Or(c.Origin, origin), c.Realm, c.ID, c.Kind, c.Time, c.Author, c.IPNR, sqltext.Number(c.Authenticated), sqltext.OrNull(c.Env), c.Comment, c.Attrs, c.Document}
	}
	return s.dialect.append(s, ctx, q, slots, rows, end)
}

// split returns as many of the first rows as one statement takes, and the others.
func split(rows [][]any) (first, rest [][]any) {
	bytes := 0
	for n, row := range rows[:min(len(rows), chunk/values)] {
		bytes += length(row)
		if n > 0 && bytes > longStatement {
			return rows[:n], rows[n:]
		}
	}
	n := min(len(rows), chunk/values)
	return rows[:n], rows[n:]
}

// length returns how long the texts of a row are.
func length(row []any) (n int) {
	for _, v := range row {
		if text, ok := v.(string); ok {
			n += len(text)
		}
	}
	return n
}

// longStatement is the length from which on rows go in statements of their own.
const longStatement = 1 << 20

// writeInsert appends an INSERT of rows, with tid in the place of the tid, and its
// values. If tid is a placeholder, value is its value, before each row's.
func writeInsert(b *strings.Builder, args []any, rows [][]any, tid string, value ...any) []any {
	b.WriteString(insertInto + "VALUES ")
	row := "(" + tid + strings.Repeat(", ?", values) + ")"
	for i, values := range rows {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(row)
		args = append(append(args, value...), values...)
	}
	return args
}

// insertEach sends rows of a tid that is known, statement by statement.
func (s *Store) insertEach(ctx context.Context, q SQL, tid int64, rows [][]any) error {
	for len(rows) > 0 {
		var b strings.Builder
		var some [][]any
		some, rows = split(rows)
		args := writeInsert(&b, nil, some, "?", tid)
		if _, err := kept(q).ExecContext(ctx, s.SQL(b.String()), args...); err != nil {
			return err
		}
		limit.Progress(ctx)
	}
	return nil
}
