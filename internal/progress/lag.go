package progress

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Lag is what a consumer has not handled.
type Lag struct {
	Changes int64
	Oldest  int64 // when the first of them was made, in microseconds since 1970; 0 if there is none
}

// Lags returns how many changes of these realms come after cursors, for each. It
// counts what is seen now, decided or not, and nothing that was pruned. Changes
// between two cursors are counted once, for all who are before them.
func (t *Tables) Lags(ctx context.Context, cursors []Cursor, realms []string) (lags map[Cursor]Lag, err error) {
	defer t.within(&ctx, &err)()
	places := slices.Clone(cursors)
	slices.SortFunc(places, func(a, b Cursor) int {
		return cmp.Or(cmp.Compare(a.TID, b.TID), cmp.Compare(a.last(), b.last()))
	})
	places = slices.CompactFunc(places, func(a, b Cursor) bool { return a.TID == b.TID && a.last() == b.last() })
	after := make([]Lag, len(places)+1) // of each place; the last is no place
	if len(realms) > 0 {
		spans, err := t.spans(ctx, realms, places)
		if err != nil {
			return nil, err
		}
		for i := len(spans) - 1; i >= 0; i-- {
			after[i] = after[i+1]
			if after[i].Changes += spans[i].Changes; spans[i].Changes > 0 {
				after[i].Oldest = spans[i].Oldest
			}
		}
	}
	lags = map[Cursor]Lag{}
	for _, c := range cursors {
		i, _ := slices.BinarySearchFunc(places, c, func(a, b Cursor) int {
			return cmp.Or(cmp.Compare(a.TID, b.TID), cmp.Compare(a.last(), b.last()))
		})
		lags[c] = after[i]
	}
	return lags, nil
}

// last returns the highest seq that is handled of the cursor's transaction.
func (c Cursor) last() int {
	if c.Partial {
		return c.Seq
	}
	return math.MaxInt32
}

// spansAtOnce is of how many spans one statement is: SQLite takes 500.
const spansAtOnce = 100

// spans returns what realms have between each place and the next, and after the last.
func (t *Tables) spans(ctx context.Context, realms []string, places []Cursor) ([]Lag, error) {
	spans := make([]Lag, len(places))
	list, names := in(realms)
	from := "FROM {journal_change} WHERE realm IN " + list + " AND tid >= ? AND (tid > ? OR seq > ?) AND tid <= ? AND (tid < ? OR seq <= ?)"
	for first := 0; first < len(places); first += spansAtOnce {
		n := min(spansAtOnce, len(places)-first)
		var parts []string
		var args []any
		for i := first; i < first+n; i++ {
			a, b := places[i], Cursor{}
			b.TID = math.MaxInt64
			if i+1 < len(places) {
				b = places[i+1]
			}
			span := append(slices.Clone(names), a.TID, a.TID, a.last(), b.TID, b.TID, b.last())
			args = append(append(args, span...), span...)
			// Subqueries in place of the derived tables may be null on MariaDB: see SlowestConsumer.
			parts = append(parts, fmt.Sprintf("SELECT %d, c.n, f.time FROM (SELECT count(*) AS n %s) c LEFT JOIN (SELECT time %s ORDER BY tid, seq LIMIT 1) f ON c.n > 0", i, from, from))
		}
		rows, err := t.store.Query(ctx, strings.Join(parts, " UNION ALL "), args...)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for rows.Next() {
			var i int
			var count int64
			var made *int64 // null if there is none, or it was pruned since it was counted
			if err := rows.Scan(&i, &count, &made); err != nil {
				return nil, err
			}
			if made != nil {
				spans[i] = Lag{count, *made}
			}
		}
		if err := cmp.Or(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
	}
	return spans, nil
}
