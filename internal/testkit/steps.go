package testkit

import (
	"context"
	"iter"
	"testing"
	"time"
)

// Step is what a loop yielded.
type Step[T any] struct {
	Value T
	Err   error
}

// Steps is a loop in a goroutine, whose Steps a test takes one by one: the loop's
// body waits until the test has taken the last.
type Steps[T any] struct {
	t      testing.TB
	taken  chan Step[T]
	ended  chan struct{}
	cancel context.CancelFunc
}

// Loop begins a Loop over a sequence, which ends with the test.
func Loop[T any](t testing.TB, sequence func(context.Context) iter.Seq2[T, error]) *Steps[T] {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &Steps[T]{t: t, taken: make(chan Step[T]), ended: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(s.ended)
		for v, err := range sequence(ctx) {
			select {
			case s.taken <- Step[T]{v, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(s.Stop)
	return s
}

// Next returns what the loop yields next.
func (s *Steps[T]) Next() Step[T] {
	s.t.Helper()
	select {
	case taken := <-s.taken:
		return taken
	case <-s.ended:
		s.t.Fatal("the loop ended")
	case <-time.After(Patience):
		s.t.Fatalf("the loop yielded nothing within %v", Patience)
	}
	return Step[T]{}
}

// Stop ends the loop and waits for it.
func (s *Steps[T]) Stop() {
	s.cancel()
	select {
	case <-s.ended:
	case <-time.After(Patience):
		s.t.Errorf("the loop did not end within %v", Patience)
	}
}
