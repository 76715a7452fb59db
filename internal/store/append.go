package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/tracbus/tracbus/internal/limit"
)

const (
	journalColumns = `(tid, seq, id, "change", time, author, ipnr, authenticated, comment, parts, state)`
	historyColumns = `(tid, seq, id, field, old_type, old_value, new_type, new_value)`
)

// chunk is how many values one statement may have; the databases' own limits
// are from 32,766 up.
const chunk = 10_000

// MustCheckOpen says whether [Store.StillOpen] has to be asked before a transaction
// of its own is committed: unless Append is called in it, and sees to that.
func (s *Store) MustCheckOpen(appends bool) bool {
	return !appends || !s.batches && !s.dialect.checksOnAppend
}

// Append takes a tid and writes the rows of changes: the last thing in a
// transaction, because from here on it may hold up others. If end is true and the
// connection can do it, COMMIT goes with it in the same round trip; committed
// says so. After an error the transaction has to be rolled back, unless the error
// wraps [ErrInDoubt].
func (s *Store) Append(ctx context.Context, q SQL, commitID, origin string, changes []Change, end bool) (tid int64, committed bool, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	var realms []string
	for _, c := range changes {
		if !slices.Contains(realms, c.Realm) {
			realms = append(realms, c.Realm)
		}
	}
	head := []any{commitID, origin, strings.Join(realms, ",")}
	inserts := s.inserts(changes, realms)
	return s.dialect.append(s, ctx, q, head, inserts, end)
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

// longStatement is the length from which on rows go in statements of their own.
const longStatement = 1 << 20

// write appends the statement's text, with tid in the place of the tid, and its
// values. If tid is a placeholder, value is its value, before each row's.
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

// insertEach sends the inserts of a tid that is known, one by one.
func (s *Store) insertEach(ctx context.Context, q SQL, tid int64, inserts []insert) error {
	for _, in := range inserts {
		var b strings.Builder
		args := in.write(&b, nil, "?", tid)
		if _, err := q.ExecContext(ctx, s.SQL(b.String()), args...); err != nil {
			return err
		}
		limit.Progress(ctx)
	}
	return nil
}
