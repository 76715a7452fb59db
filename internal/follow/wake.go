package follow

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/store"
)

// Wake is how the processes of a journal wake each other after a commit: by a text that a
// [Waker] sends on tracbus:<uuid>:wake. Without it, and if a text is lost, a process learns of the commit at its next poll: see wait (run.go)
// and Config.Poll.
type Wake struct {
	Through string // what the log calls the way

	// Call wakes the other processes. It says whether anybody heard it: this process
	// does, if it is where it hears.
	Call func(ctx context.Context) (heard bool, err error)

	// Hear yields what comes from the other processes, until ctx ends.
	Hear func(ctx context.Context) iter.Seq[Heard]
}

// Heard is one thing that Hear yields: a call of another process, or whether
// calls are heard from now on.
type Heard struct {
	Call bool
	Err  error // why calls are not heard; nil: they are
}

// wakeLog keeps the log at one line when the way is lost, in whichever
// direction that is noticed, and at one when both are there again.
type wakeLog struct {
	through string
	poll    time.Duration
	logger  *slog.Logger

	mu   sync.Mutex
	lost map[direction]bool
}

type direction int

const (
	in direction = iota
	out
)

// note notes whether a direction is there, and says so if that is news.
func (w *wakeLog) note(d direction, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.lost[in] || w.lost[out]
	w.lost[d] = err != nil
	switch now := w.lost[in] || w.lost[out]; {
	case now && !before:
		w.logger.Warn("processes do not wake each other: they poll", "through", w.through, "poll", w.poll, "err", err)
	case before && !now:
		w.logger.Info("processes wake each other again", "through", w.through)
	}
}

// hears says whether calls are heard.
func (w *wakeLog) hears() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	lost, begun := w.lost[in]
	return begun && !lost
}

// ErrUnheard is that of a call which not even this process hears.
var ErrUnheard = errors.New("nobody hears the calls: this process hears those at another server")

// hear kicks the follower whenever another process calls, and when calls are
// heard again after they were not: one may have been lost.
func (f *Follower) hear(ctx context.Context, w *wakeLog) {
	for heard := range f.config.Wake.Hear(ctx) {
		if !heard.Call {
			w.note(in, heard.Err)
		}
		signal(f.kick)
	}
}

// call wakes the other processes after commits of this one, many in one call. A
// call that fails is made again, so that they learn of the last commit when the way is
// there again; until then they poll.
func (f *Follower) call(ctx context.Context, w *wakeLog) {
	unheard := 0 // calls in a row
	for pause := firstPause; ; {
		select {
		case <-f.announce:
		case <-ctx.Done():
			return
		}
		hears := w.hears()
		heard, err := f.config.Wake.Call(ctx)
		if unheard++; err != nil || heard || !hears || !w.hears() {
			unheard = 0
		}
		if unheard > maxUnheard {
			err = ErrUnheard
		}
		if ctx.Err() != nil {
			return
		}
		w.note(out, err)
		if err == nil && unheard == 0 {
			pause = firstPause
			if !store.Sleep(ctx, callEvery) { // commits meanwhile are one call
				return
			}
			continue
		}
		if !store.Sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, lastPause)
		signal(f.announce)
	}
}

// callEvery is how far calls are apart at least.
const callEvery = time.Millisecond

// maxUnheard is how many calls in a row may be heard by nobody: both directions need
// some seconds to follow when Redis is elsewhere, each at its own time.
const maxUnheard = 4

// The pause after a call that failed doubles from the first to the last of these.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
)
