// Package checkpoint remembers places of a journal. Its secret is how few are enough to
// find where the history differs that a database has now.
package checkpoint

import (
	"context"
	"slices"

	"github.com/tracbus/tracbus/internal/store"
)

// List is a list of places that a reader of the journal has passed: the latest
// without a gap, and ever fewer the further back. If the database's history goes
// back, they say after which place it differs. The zero value has none.
type List struct {
	places []store.Place // the oldest first
}

// most is how many places are remembered at most.
const most = 4096

// Empty says whether there are none.
func (c *List) Empty() bool { return len(c.places) == 0 }

// Begin remembers the first place and some before it, so that a database that is
// put back to a state before this process was there finds it prepared.
func (c *List) Begin(ctx context.Context, s *store.Store, q store.SQL, first store.Place) error {
	c.places = nil
	for step := int64(1); first.TID-step > 0; step *= 2 {
		p, err := s.Before(ctx, q, first.TID-step)
		if err != nil {
			return err
		}
		c.places = append(c.places, p)
	}
	slices.Reverse(c.places)
	c.Add(first)
	return nil
}

// Add remembers more places. If there are too many, every second one of the older
// half is forgotten.
func (c *List) Add(places ...store.Place) {
	for _, p := range places {
		if p.CommitID == "" || len(c.places) > 0 && c.places[len(c.places)-1].TID >= p.TID {
			continue
		}
		if len(c.places) == most {
			kept := c.places[:0]
			for i, old := range c.places {
				if i >= most/2 || i%2 == 0 {
					kept = append(kept, old)
				}
			}
			c.places = kept
		}
		c.places = append(c.places, p)
	}
}

// LastKept returns the last place that the database still has, and forgets what
// came after it. Without one it is the journal's beginning, and so it is if the
// reader's place was pruned: what came after the beginning is there.
func (c *List) LastKept(ctx context.Context, s *store.Store, q store.SQL, pruned bool) (store.Place, error) {
	for i := len(c.places) - 1; i >= 0 && !pruned; i-- {
		kept, err := s.Has(ctx, q, c.places[i])
		if err != nil {
			return store.Place{}, err
		}
		if kept {
			c.places = c.places[:i+1]
			return c.places[i], nil
		}
	}
	floor, err := s.PrunedTo(ctx, q)
	if err == nil {
		c.places = nil
	}
	return store.Place{TID: floor}, err
}

// Clone returns checkpoints that are added to separately.
func (c *List) Clone() List { return List{places: slices.Clone(c.places)} }
