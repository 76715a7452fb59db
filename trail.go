package tracbus

import (
	"context"
	"slices"

	"github.com/tracbus/tracbus/internal/store"
)

// trail is what a follower remembers of the way it came: the places of late
// without a gap, and ever fewer the further back. When the database's history
// goes back, it says from where on it is another.
type trail struct {
	places []store.Place // the oldest first
}

// trailLength is how many places are remembered at most.
const trailLength = 4096

// begin remembers the first place and some before it, so that a database that is put back
// to a state before this process was there finds it prepared.
func (t *trail) begin(ctx context.Context, j *Journal, first store.Place) error {
	t.places = nil
	for step := int64(1); first.TID-step > 0; step *= 2 {
		p, err := j.store.Before(ctx, j.db, first.TID-step)
		if err != nil {
			return err
		}
		t.places = append(t.places, p)
	}
	slices.Reverse(t.places)
	t.add(first)
	return nil
}

// add remembers more places. Where there are too many, every second one of the
// older half is forgotten.
func (t *trail) add(places ...store.Place) {
	for _, p := range places {
		if p.CommitID == "" || len(t.places) > 0 && t.places[len(t.places)-1].TID >= p.TID {
			continue
		}
		if len(t.places) == trailLength {
			kept := t.places[:0]
			for i, old := range t.places {
				if i >= trailLength/2 || i%2 == 0 {
					kept = append(kept, old)
				}
			}
			t.places = kept
		}
		t.places = append(t.places, p)
	}
}

// standing returns the last place of the trail that the database still has, and
// forgets what came after it. Without one it is the journal's beginning, and so
// it is where the place was pruned: what came after the beginning is there.
func (t *trail) standing(ctx context.Context, j *Journal, pruned bool) (store.Place, error) {
	for i := len(t.places) - 1; i >= 0 && !pruned; i-- {
		stands, err := j.store.Has(ctx, j.db, t.places[i])
		if err != nil {
			return store.Place{}, err
		}
		if stands {
			t.places = t.places[:i+1]
			return t.places[i], nil
		}
	}
	floor, err := j.store.PrunedTo(ctx, j.db)
	if err == nil {
		t.places = nil
	}
	return store.Place{TID: floor}, err
}
