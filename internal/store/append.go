package store

import (
	"cmp"
	"context"
	"strings"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
	"github.com/tracbus/tracbus/internal/store/insert"
)

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
	return s.dialect.append(s, ctx, q, slots, Rows(commitID, origin, changes), end)
}

// Rows returns the values of changes, without the tid.
func Rows(commitID, origin string, changes []Change) [][]any {
	rows := make([][]any, len(changes))
	for i, c := range changes {
		rows[i] = []any{i, len(changes), commitID, cmp.Or(c.Origin, origin), c.Realm, c.ID, c.Kind, c.Time, c.Author, c.IPNR, sqltext.Number(c.Authenticated), sqltext.OrNull(c.Env), c.Comment, c.Attrs, c.Document}
	}
	return rows
}

// Taking returns the statement that takes a tid on PostgreSQL, for [insert.Taking], and the class of
// the journal's locks.
func (s *Store) Taking() (template string, class int64) { return s.appends, s.class }

// insertEach sends rows of a tid that is known, statement by statement.
func (s *Store) insertEach(ctx context.Context, q SQL, tid int64, rows [][]any) error {
	for len(rows) > 0 {
		var b strings.Builder
		var some [][]any
		some, rows = insert.Split(rows)
		args := insert.Write(&b, nil, some, "?", tid)
		if _, err := kept(q).ExecContext(ctx, s.SQL(b.String()), args...); err != nil {
			return err
		}
		limit.Progress(ctx)
	}
	return nil
}
