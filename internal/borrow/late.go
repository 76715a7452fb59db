package borrow

import (
	"context"
	"sync"
)

// late is a context that ends with a caller's, or when a loan does. The second is seen to
// only when somebody asks for Done, because that costs more than a short statement.
type late struct {
	context.Context
	end context.Context

	mu     sync.Mutex
	merged context.Context // nil: nobody has asked
	stop   func()
}

// Done implements [context.Context].
func (c *late) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.merged == nil {
		merged, cancel := context.WithCancel(c.Context)
		stop := context.AfterFunc(c.end, cancel)
		c.merged, c.stop = merged, func() { stop(); cancel() }
	}
	return c.merged.Done()
}

// Err implements [context.Context].
func (c *late) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.merged != nil {
		return c.merged.Err()
	}
	return c.Context.Err()
}

// release gives up what Done has begun.
func (c *late) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		c.stop()
	}
}

// atOnce is a caller's context without its end, which [conn] alone sees: package sql would start a
// goroutine to close rows of which one is read at once.
type atOnce struct {
	context.Context
	caller context.Context
}
