package follow

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// crier calls the other processes where no Run does: in a goroutine that ends when it has called
// after the last commit, and that hush waits for.
type crier struct {
	mu    sync.Mutex
	calls chan struct{} // closed when the goroutine ends; nil while there is none
	again bool          // somebody committed since it began its call
}

// cryFor is how long one call may take: what is not heard costs the others a poll.
const cryFor = time.Second

// cry has the others called, and does not wait for it.
func (f *Follower) cry() {
	f.crier.mu.Lock()
	defer f.crier.mu.Unlock()
	if f.crier.calls != nil {
		f.crier.again = true
		return
	}
	calls := make(chan struct{})
	f.crier.calls = calls
	go func() {
		defer close(calls)
		for more := true; more; {
			ctx, cancel := context.WithTimeout(context.Background(), cryFor)
			_, err := f.config.Wake.Call(ctx)
			cancel()
			if err != nil {
				f.config.Logger.Warn("other processes were not woken: they poll", "through", f.config.Wake.Through, "err", err)
			}
			f.crier.mu.Lock()
			if more = f.crier.again; !more {
				f.crier.calls = nil
			}
			f.crier.again = false
			f.crier.mu.Unlock()
		}
	}()
}

// hush waits until the others have been called after the last commit of this process.
func (f *Follower) hush(ctx context.Context) error {
	f.mu.Lock()
	unsaid := f.flushed.TID > f.committed.TID && f.config.Wake != nil // the application did not say that it committed
	f.mu.Unlock()
	if unsaid {
		f.cry()
	}
	f.crier.mu.Lock()
	calls := f.crier.calls
	f.crier.mu.Unlock()
	if calls == nil {
		return nil
	}
	select {
	case <-calls:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("others are being woken: %w", ctx.Err())
	}
}
