package follow

import (
	"context"
	"iter"

	"github.com/tracbus/tracbus/internal/store"
)

// Waker sends texts on a channel, and yields those that are sent: see that of the root.
type Waker interface {
	Call(ctx context.Context, channel, text string) error
	Hear(ctx context.Context, channel string) iter.Seq2[string, error]
}

// WakeBy wakes others by a waker. A process's own calls, which have its origin as their
// text, do not wake it.
func WakeBy(w Waker, channel, origin string) *Wake {
	return &Wake{
		Through: "the Waker",
		Call: func(ctx context.Context) (heard bool, err error) {
			return true, w.Call(ctx, channel, origin)
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
