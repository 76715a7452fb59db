package limit

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNoAnswer says that something was waited for as long as it may be.
var ErrNoAnswer = errors.New("no answer from the database")

// bound is a context that ends when nothing has come for as long as it may take.
type bound struct {
	context.Context
	timer *time.Timer
	most  time.Duration
}

type boundKey struct{}

var errOver = errors.New("over")

// Bound makes *ctx one that ends if the database is silent for longer than most: counted
// from now, and from each call of [Progress]. The function that it returns ends the
// context. If silence was the reason for *err, it says so: why says what else may have
// been waited for. Within a call that is bounded, a second bound changes nothing. It
// is used in the first line of a function:
//
//	defer limit.Bound(&ctx, &err, most, why)()
func Bound(ctx *context.Context, err *error, most time.Duration, why func() string) func() {
	if (*ctx).Value(boundKey{}) != nil {
		return func() {}
	}
	inner, cancel := context.WithCancelCause(*ctx)
	b := &bound{inner, time.AfterFunc(most, func() { cancel(errOver) }), most}
	*ctx = b
	return func() {
		b.timer.Stop()
		over := context.Cause(inner) == errOver
		cancel(nil)
		if over && *err != nil {
			*err = fmt.Errorf("%w for %v%s: %w", ErrNoAnswer, most, why(), *err)
		}
	}
}

// Progress says that the database has answered: the bound of ctx, if it has one, begins
// again.
func Progress(ctx context.Context) {
	if b, ok := ctx.Value(boundKey{}).(*bound); ok && b.Err() == nil {
		b.timer.Reset(b.most)
	}
}

// Value also has the bound itself.
func (b *bound) Value(key any) any {
	if key == (boundKey{}) {
		return b
	}
	return b.Context.Value(key)
}

// Err says of silence what is said of a deadline: nobody has canceled anything.
func (b *bound) Err() error {
	if context.Cause(b.Context) == errOver {
		return context.DeadlineExceeded
	}
	return b.Context.Err()
}
