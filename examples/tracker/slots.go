package main

import "context"

// slots let a few at a time do what takes the processor long. What must not wait for
// one another has slots of its own: whoever makes pages slow keeps nobody from signing in.
type slots chan struct{}

// do calls f when there is a slot, unless ctx ends before that.
func (s slots) do(ctx context.Context, f func() error) error {
	select {
	case s <- struct{}{}:
		defer func() { <-s }()
		return f()
	case <-ctx.Done():
		return ctx.Err()
	}
}
