package follow

import (
	"context"
	"iter"
	"time"

	"github.com/tracbus/tracbus/internal/store"
)

// Wake is how the processes of a journal wake each other after a commit: by a
// message of Redis pub/sub on tracbus:<uuid>:wake, which callOthers and hearOthers
// in the root's follow.go send and receive. Without Redis, and if a message is
// lost, a process learns of the commit at its next poll: see wait (run.go) and
// Config.Poll.
type Wake struct {
	// Call wakes the other processes.
	Call func(ctx context.Context) error

	// Hear yields what comes from the other processes, until ctx ends.
	Hear func(ctx context.Context) iter.Seq[Heard]
}

// Heard is one thing that Hear yields: a call of another process, or whether
// calls are heard from now on.
type Heard struct {
	Call bool
	Err  error // why calls are not heard; nil: they are
}

// hear kicks the follower whenever another process calls, and when calls are
// heard again after they were not: one may have been lost.
func (f *Follower) hear(ctx context.Context) {
	deaf := false
	for heard := range f.config.Wake.Hear(ctx) {
		switch {
		case heard.Call:
		case heard.Err != nil:
			deaf = true
			f.config.Logger.Warn("other processes are not heard through Redis: this one polls", "poll", f.config.Poll, "err", heard.Err)
		case deaf:
			deaf = false
			f.config.Logger.Info("other processes are heard through Redis again")
		}
		signal(f.kick)
	}
}

// call wakes the other processes after commits of this one, many in one call. A
// call that is lost costs them the time to their next poll.
func (f *Follower) call(ctx context.Context) {
	away := false
	for {
		select {
		case <-f.announce:
		case <-ctx.Done():
			return
		}
		if err := f.config.Wake.Call(ctx); ctx.Err() == nil && (err != nil) != away {
			away = err != nil
			if away {
				f.config.Logger.Warn("other processes cannot be woken through Redis: they poll", "poll", f.config.Poll, "err", err)
			} else {
				f.config.Logger.Info("other processes are woken through Redis again")
			}
		}
		if away && !store.Sleep(ctx, 100*time.Millisecond) {
			return
		}
	}
}
