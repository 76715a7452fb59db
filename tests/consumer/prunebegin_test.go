package consumer_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// standoff holds one statement until another process is about to run one.
type standoff struct {
	hold, release   sync.Once
	held, goOn      chan struct{}
	holds, releases func(query string) bool
}

func newStandoff(holds, releases func(string) bool) *standoff {
	return &standoff{held: make(chan struct{}), goOn: make(chan struct{}), holds: holds, releases: releases}
}

// first runs the statement that is held, once.
func (s *standoff) first(ctx context.Context, query string) error {
	if s.holds(query) {
		s.hold.Do(func() {
			close(s.held)
			select {
			case <-s.goOn:
			case <-ctx.Done():
			}
		})
	}
	return nil
}

// second runs the one that releases it, if it is held.
func (s *standoff) second(_ context.Context, query string) error {
	select {
	case <-s.held:
	default:
		return nil
	}
	if s.releases(query) {
		s.release.Do(func() { close(s.goOn) })
	}
	return nil
}

func begins(query string) bool {
	return strings.Contains(query, "BEGIN") || strings.Contains(query, "START TRANSACTION") || strings.Contains(query, "journal_begin")
}

func adds(query string) bool {
	return strings.Contains(query, "INSERT INTO") && strings.Contains(query, "journal_consumer")
}

func raises(query string) bool {
	return strings.Contains(query, "UPDATE") && strings.Contains(query, "journal_facts")
}

// TestPruneWhileDurableBegins has a new name begin at the oldest change while another
// process prunes: it keeps the oldest for the name, or the name begins after what is
// pruned. The listener is told of nothing that it missed.
func TestPruneWhileDurableBegins(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for name, c := range map[string]struct {
			stand  *standoff
			pruner bool // is held
			gone   int64
			want   []string
		}{
			"the name is about to be added":   {newStandoff(adds, begins), false, 0, []string{"one", "two", "three"}},
			"the floor is about to be raised": {newStandoff(raises, func(q string) bool { return begins(q) || adds(q) }), true, 2, []string{"three"}},
		} {
			t.Run(name, func(t *testing.T) {
				testkit.NoLeaks(t)
				dsn := s.DSN(s.Name())
				writer := desk.Seat(t, s, dsn, desk.Config{Idle: true})
				for _, remark := range []string{"one", "two", "three"} {
					writer.Say(t, remark, 1)
				}
				makes, prunes := c.stand.first, c.stand.second
				if c.pruner {
					makes, prunes = prunes, makes
				}
				maker := desk.Seat(t, s, "", desk.Config{DB: s.Hooked(t, dsn, makes)})
				pruner := desk.Seat(t, s, "", desk.Config{DB: s.Hooked(t, dsn, prunes), Idle: true})
				log := newDeliveries()
				over := make(chan struct{})
				waits := log.after(func(ctx context.Context, _ tracbus.Event) error { // else it may be done with what is pruned
					select {
					case <-over:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				})
				begin := func() { tracbus.On(maker.Bus, tracbus.DurableConfig{FromOldest: true}.Durable("log"), waits) }
				pruned := make(chan int64, 1)
				prune := func() {
					n, err := pruner.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 1})
					assert.NoError(t, err)
					pruned <- n
				}
				if c.pruner {
					go prune()
					<-c.stand.held
					begin()
				} else {
					begin()
					<-c.stand.held
					prune()
				}
				assert.Equal(t, c.gone, <-pruned)
				close(over)
				writer.Say(t, "four", 1)
				log.hears(t, "four")
				told, _ := log.events()
				assert.Equal(t, append(c.want, "four"), desk.Briefs(told))
			})
		}
	})
}
