package progress

import (
	"context"
	"database/sql"
	"errors"
	"math"

	"github.com/tracbus/tracbus/internal/limit"
)

// Lag returns how many changes of these realms come after a cursor, and when the
// first of them was made, in microseconds since 1970; 0 if there is none. It
// counts what is seen now, decided or not, and nothing that was pruned.
func (t *Tables) Lag(ctx context.Context, c Cursor, realms []string) (changes, oldest int64, err error) {
	defer t.within(&ctx, &err)()
	seq := math.MaxInt32
	if c.Partial {
		seq = c.Seq
	}
	const after = "_journal} WHERE tid >= ? AND (tid > ? OR seq > ?)"
	for _, realm := range realms {
		var n, made int64
		if err := limit.QueryRow(ctx, t.db, t.store.SQL("SELECT count(*) FROM {"+realm+after), c.TID, c.TID, seq).Scan(&n); err != nil {
			return 0, 0, err
		}
		err := limit.QueryRow(ctx, t.db, t.store.SQL("SELECT time FROM {"+realm+after+" ORDER BY tid, seq LIMIT 1"), c.TID, c.TID, seq).Scan(&made)
		switch {
		case errors.Is(err, sql.ErrNoRows): // pruned since it was counted
			continue
		case err != nil:
			return 0, 0, err
		}
		changes += n
		if oldest == 0 || made < oldest {
			oldest = made
		}
	}
	return changes, oldest, nil
}
