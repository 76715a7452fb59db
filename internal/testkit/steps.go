package tracbus_test

import (
	"context"
	"iter"
	"testing"
	"time"
)

// step is what a loop yielded.
type step[T any] struct {
	Value T
	Err   error
}

// steps is a loop in a goroutine, whose steps a test takes one by one: the loop's
// body waits until the test has taken the last.
type steps[T any] struct {
	t      testing.TB
	taken  chan step[T]
	ended  chan struct{}
	cancel context.CancelFunc
}

// loop begins a loop over a sequence, which ends with the test.
func loop[T any](t testing.TB, sequence func(context.Context) iter.Seq2[T, error]) *steps[T] {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &steps[T]{t: t, taken: make(chan step[T]), ended: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(s.ended)
		for v, err := range sequence(ctx) {
			select {
			case s.taken <- step[T]{v, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(s.stop)
	return s
}

// next returns what the loop yields next.
func (s *steps[T]) next() step[T] {
	s.t.Helper()
	select {
	case taken := <-s.taken:
		return taken
	case <-s.ended:
		s.t.Fatal("the loop ended")
	case <-time.After(patience):
		s.t.Fatalf("the loop yielded nothing within %v", patience)
	}
	return step[T]{}
}

// stop ends the loop and waits for it.
func (s *steps[T]) stop() {
	s.cancel()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Errorf("the loop did not end within %v", patience)
	}
}
