package consumer

import (
	"context"
	"time"
)

// slots bound how many statements the consumers of a process run at once, so that
// they leave connections to the application. What renews leases does not wait here:
// it has a connection of its own; see [Renewer].
type slots chan struct{}

// newSlots returns the slots of a pool of at most so many connections; 0 means any
// number.
func newSlots(most int) slots {
	n := 4
	if most > 0 {
		n = min(n, most/2)
	}
	return make(slots, max(n-1, 1))
}

// statementLimit bounds how long a statement of a consumer may take.
const statementLimit = 15 * time.Second

// unlimited is for what takes as long as there is something to read: the store ends it
// if the database is silent.
const unlimited time.Duration = 0

// use runs f, which makes some statements, within a limit of time, unless that is
// unlimited.
func (s slots) use(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	select {
	case s <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s }()
	if limit == unlimited {
		return f(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f(ctx)
}
