package follow

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tracbus/tracbus/internal/testkit"
)

// A call that not even this process hears, though it hears, goes to a server where
// nobody is. Before it hears, and while it does not, that means nothing.
func TestCallsThatNobodyHears(t *testing.T) {
	notes := testkit.NewNotes()
	answers := make(chan bool)
	f := &Follower{announce: make(chan struct{}, 1), config: Config{Wake: &Wake{
		Call: func(context.Context) (bool, error) { return <-answers, nil },
	}}}
	w := &wakeLog{through: "Redis", poll: time.Second, logger: notes.Logger(), lost: map[direction]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.call(ctx, w) })
	signal(f.announce)
	answers <- false
	signal(f.announce)
	answers <- true // so that what came of the one before is known
	if n := notes.Count("do not wake"); n != 0 {
		t.Errorf("%d lines before it hears", n)
	}
	w.note(in, nil)
	signal(f.announce)
	for range maxUnheard { // both directions may be following
		answers <- false
	}
	if n := notes.Count("do not wake"); n != 0 {
		t.Errorf("%d lines after %d calls", n, maxUnheard)
	}
	answers <- false
	notes.Until(t, "nobody hears the calls")
	answers <- true // the call is made again by itself
	notes.Until(t, "wake each other again")
	cancel()
	running.Wait()
}
