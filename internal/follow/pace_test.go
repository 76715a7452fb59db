package follow

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testkit"
)

// roomless is a sink whose queues are never full.
type roomless struct{ Sink }

func (roomless) Room() <-chan struct{} { return nil }

// TestPace: a commit after a while is read at once; commits that follow each other come
// together, for ten times as long as the read before took, and not at all if somebody
// waits for them. The clock is that of a bubble.
func TestPace(t *testing.T) {
	for name, test := range map[string]struct {
		took  time.Duration // by the read before
		after time.Duration // its end, the first commit comes
		hurry bool
		want  time.Duration // until the next read
	}{
		"after a while":               {took: 300 * time.Microsecond, after: 2 * time.Millisecond, want: 0},
		"long after a long read":      {took: time.Second, after: 5 * time.Millisecond, want: 0},
		"right after a quick read":    {took: time.Microsecond, want: time.Millisecond},
		"right after a usual read":    {took: 300 * time.Microsecond, want: 3 * time.Millisecond},
		"soon after a usual read":     {took: 300 * time.Microsecond, after: time.Millisecond, want: 2 * time.Millisecond},
		"right after a long read":     {took: time.Second, want: 10 * time.Millisecond},
		"while somebody waits for it": {took: 300 * time.Microsecond, hurry: true, want: 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &Follower{config: Config{Poll: time.Minute}, sink: roomless{}, kick: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
				var p pace
				began := time.Now()
				<-time.After(test.took)
				p.read(began)
				<-time.After(test.after)
				if test.hurry {
					signal(f.hurry)
				}
				kicked := time.Now()
				signal(f.kick)
				go func() { // more commits, while it waits
					for range 3 {
						<-time.After(test.want / 5)
						signal(f.kick)
					}
				}()
				if !f.wait(t.Context(), nil, &p) {
					t.Error("the context has not ended")
				}
				if got := time.Since(kicked); got != test.want {
					t.Errorf("the next read comes after %v, want %v", got, test.want)
				}
				if synctest.Wait(); test.want > 0 && len(f.kick) != 0 {
					t.Error("one read was for all of them")
				}
			})
		})
	}
}

// TestPaceEnds with its context.
func TestPaceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var p pace
		p.read(time.Now().Add(-time.Second))
		began := time.Now()
		cancel()
		p.wait(ctx, nil)
		if got := time.Since(began); got != 0 {
			t.Errorf("it ended after %v", got)
		}
	})
}

// TestReachHurries: a follower that lets commits come together does not while somebody
// waits for one.
func TestReachHurries(t *testing.T) {
	f := &Follower{config: Config{Store: new(store.Store)}, hurry: make(chan struct{}, 1), moved: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- f.Reach(ctx, 5) }()
	select {
	case <-f.hurry:
		cancel()
	case <-ctx.Done():
		t.Error("nobody was told")
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
