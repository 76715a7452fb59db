package follow

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/store"
)

// Waker sends texts on a channel, and yields those that are sent: see that of the root.
type Waker interface {
	Call(ctx context.Context, channel, text string) error
	Hear(ctx context.Context, channel string) iter.Seq2[string, error]
}

// WakeBy wakes others by a waker, of which no call may take longer than most. A process's own
// calls, which have its origin as their text, do not wake it.
func WakeBy(w Waker, channel, origin string, most time.Duration) *Wake {
	return &Wake{
		Through: fmt.Sprintf("%T", w),
		Call: func(ctx context.Context) (heard bool, err error) {
			calling, cancel := context.WithTimeoutCause(ctx, most, limit.ErrNoAnswer)
			defer cancel()
			switch err = w.Call(calling, channel, origin); {
			case errors.Is(err, ErrUnheard):
				return false, nil
			case err != nil && context.Cause(calling) == limit.ErrNoAnswer:
				err = fmt.Errorf("%w for %v: %w", limit.ErrNoAnswer, most, err)
			}
			return true, err
		},
		Hear: func(ctx context.Context) iter.Seq[Heard] {
			return func(yield func(Heard) bool) {
				for pause := firstPause; ; pause = min(2*pause, lastPause) {
					for text, err := range w.Hear(ctx, channel) {
						if err == nil && text == origin {
							continue
						}
						if ctx.Err() != nil || !yield(Heard{Call: err == nil && text != "", Err: err}) {
							return
						}
						if err == nil {
							pause = firstPause
						}
					}
					if !store.Sleep(ctx, pause) {
						return
					}
				}
			}
		},
	}
}
