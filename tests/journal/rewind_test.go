package journal_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
)

// roster is a cache of the names in the table seen, loaded and kept by events.
type roster struct {
	mu    sync.Mutex
	names map[string]int // how often each was seen since it was loaded
	loads int
}

func (r *roster) Load(ctx context.Context, s *tracbus.Snapshot) error {
	rows, err := s.QueryContext(ctx, "SELECT name FROM seen")
	if err != nil {
		return err
	}
	defer rows.Close()
	names := map[string]int{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		names[name]++
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names = names
	r.loads++
	return rows.Err()
}

func (r *roster) WikiPageCreated(_ context.Context, e tracbus.WikiPageCreated) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names[e.Page.Name]++
	return nil
}
func (r *roster) WikiPageChanged(context.Context, tracbus.WikiPageChanged) error { return nil }
func (r *roster) WikiPageDeleted(context.Context, tracbus.WikiPageDeleted) error { return nil }

func (r *roster) read() (names []string, loads int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, n := range r.names {
		names = append(names, fmt.Sprintf("%s*%d", name, n))
	}
	slices.Sort(names)
	return names, r.loads
}

// watcher is a process that follows a tracker.
type watcher struct {
	*desk.Desk
	log    testkit.LogRecorder
	roster roster
}

// told shows what the listener for everything was told: names of pages, and
// reasons of Resyncs in brackets.
func (w *watcher) told() (all []string) {
	events, _ := w.Heard()
	for _, e := range events {
		if r, ok := e.(tracbus.Resync); ok {
			all = append(all, fmt.Sprintf("(%s)", r.Reason))
		} else {
			all = append(all, e.Resource().ID)
		}
	}
	return all
}

func starred(names ...string) (all []string) {
	for _, n := range names {
		all = append(all, n+"*1")
	}
	slices.Sort(all)
	return all
}

// TestRewound puts databases back to an older copy under processes that follow
// them. They say so, have their listeners reload, and suppress no change that is
// made afterwards, although its tid was seen before.
func TestRewound(t *testing.T) {
	for _, dialect := range []string{"sqlite", "postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) {
			testkit.NoLeaks(t)
			k := desk.NewRestorable(t, dialect)

			veteran := watch(t, k) // since the beginning
			k.Add(t, testkit.Numbered("a", 1, 3)...)
			oldest := k.Backup(t)
			k.Add(t, testkit.Numbered("b", 1, 5)...)
			middle := k.Backup(t)
			last := k.Add(t, testkit.Numbered("c", 1, 10)...)
			novice := watch(t, k) // began after all copies
			last = max(last, k.Add(t, "d01"))
			both := []*watcher{veteran, novice}
			for _, w := range both {
				require.NoError(t, w.Wait(testkit.Within(t), last))
			}
			rewound := func(times int) {
				t.Helper()
				for _, w := range both {
					testkit.Until(t, "the follower has seen it", func() bool { return len(w.log.With("listeners get a Resync")) == times })
				}
			}
			check := func(seen, afterResync []string) {
				t.Helper()
				for _, w := range both {
					told := w.told()
					i := 0
					for i < len(told) && told[len(told)-1-i] != "(rewound)" {
						i++
					}
					assert.Less(t, i, len(told), "no Resync among %v", told)
					// The changes that were made since end it, each once and in
					// order; those before it may be told again.
					after := told[len(told)-i:]
					if n := len(after) - len(afterResync); assert.GreaterOrEqual(t, n, 0, "told %v: expected %v", after, afterResync) {
						assert.Equal(t, afterResync, after[n:])
						for _, again := range after[:n] {
							assert.Contains(t, seen, again)
						}
					}
					names, loads := w.roster.read()
					assert.Equal(t, starred(seen...), names, "the loaded listener")
					assert.Greater(t, loads, 1)
					events, _ := w.Heard()
					for _, e := range events {
						if r, ok := e.(tracbus.Resync); ok {
							assert.ErrorIs(t, r.Err, tracbus.ErrRewound)
							assert.Equal(t, "desk", r.Env)
						}
					}
				}
			}

			// Seen before anything new is written.
			middle()
			rewound(1)
			last = k.Add(t, testkit.Numbered("e", 1, 2)...)
			for _, w := range both {
				require.NoError(t, w.Wait(testkit.Within(t), last))
			}
			seen := slices.Concat(testkit.Numbered("a", 1, 3), testkit.Numbered("b", 1, 5), testkit.Numbered("e", 1, 2))
			check(seen, testkit.Numbered("e", 1, 2))

			// To before the second watcher began, with a new history that is
			// longer than the old one by the time that they look.
			for _, w := range both {
				w.Pause(t)
			}
			oldest()
			last = k.Add(t, testkit.Numbered("f", 1, 30)...)
			for _, w := range both {
				w.Follow()
			}
			rewound(2)
			for _, w := range both {
				require.NoError(t, w.Wait(testkit.Within(t), last))
			}
			seen = slices.Concat(testkit.Numbered("a", 1, 3), testkit.Numbered("f", 1, 30))
			check(seen, testkit.Numbered("f", 1, 30))

			// A process that commits itself is told of it as primary, however
			// high its tids were before.
			oldest()
			rewound(3)
			var tid int64
			testkit.Until(t, "a commit after the restart", func() (done bool) {
				var err error
				tid, err = novice.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error { return tx.Record(testkit.Within(t), desk.NewPage("own")) })
				return err == nil
			})
			assert.Less(t, tid, last)
			for _, w := range both {
				require.NoError(t, w.Wait(testkit.Within(t), tid))
			}
			_, primary := novice.Heard()
			own := primary[len(primary)-1]
			assert.Equal(t, "own", own.Resource().ID)
			assert.True(t, own.About().Primary)
			told := veteran.told()
			assert.Equal(t, "own", told[len(told)-1])
		})
	}
}

// watch seats a process that follows a tracker.
func watch(t *testing.T, k *desk.Restorable) *watcher {
	w := new(watcher)
	w.Desk = desk.Seat(t, k.Server, "", desk.Config{
		DB:      k.Open(t, k.Source),
		Journal: tracbus.JournalConfig{Logger: slog.New(&w.log)},
		Before:  func(b *tracbus.Bus) { b.Wiki(tracbus.Everywhere, &w.roster) },
	})
	return w
}
