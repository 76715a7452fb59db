package streamtest

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen before it fails.
const patience = time.Minute

// A Loop is a loop over a sequence in a goroutine, whose steps a test takes one
// by one: the loop's body waits until the test has taken the last.
type Loop[Step fmt.Stringer] struct {
	t      testing.TB
	steps  chan Step
	ended  chan struct{}
	cancel context.CancelFunc
}

// Start loops over what sequence returns, until the test ends.
func Start[Step fmt.Stringer](t testing.TB, sequence func(context.Context) iter.Seq[Step]) *Loop[Step] {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Loop[Step]{t: t, steps: make(chan Step), ended: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(l.ended)
		for step := range sequence(ctx) {
			select {
			case l.steps <- step:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(l.Stop)
	return l
}

// Stop ends the loop and waits for it.
func (l *Loop[Step]) Stop() {
	l.cancel()
	select {
	case <-l.ended:
	case <-time.After(patience):
		l.t.Errorf("the loop did not end within %v", patience)
	}
}

// Next waits for the next step.
func (l *Loop[Step]) Next() (step Step) {
	l.t.Helper()
	select {
	case step = <-l.steps:
	case <-l.ended:
		l.t.Fatal("the loop ended")
	case <-time.After(patience):
		l.t.Fatalf("the loop yielded nothing within %v", patience)
	}
	return step
}

// Says wants steps next, in the form of their String.
func (l *Loop[Step]) Says(want ...string) {
	l.t.Helper()
	for i, w := range want {
		if got := l.Next().String(); got != w {
			l.t.Fatalf("step %d\n got %s\nwant %s\n of %q", i, got, w, want)
		}
	}
}

// Takes wants the entries of tids next.
func (l *Loop[Step]) Takes(generation int64, tids ...int64) {
	l.t.Helper()
	for _, tid := range tids {
		l.Says(ID(generation, tid, 0))
	}
}
