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
	lost  bool          // the last call failed, which was said
}

// cryFor is how long one call may take, and cryTimes how often it is made if it fails: what is not
// heard costs the others a poll.
const (
	cryFor   = time.Second
	cryTimes = 3
)

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
			err := f.callAgain()
			f.crier.mu.Lock()
			switch was := f.crier.lost; {
			case err != nil && !was:
				f.config.Logger.Warn("other processes were not woken: they poll", "through", f.config.Wake.Through, "err", err)
			case err == nil && was:
				f.config.Logger.Info("processes wake each other again", "through", f.config.Wake.Through)
			}
			f.crier.lost = err != nil
			if more = f.crier.again; !more {
				f.crier.calls = nil
			}
			f.crier.again = false
			f.crier.mu.Unlock()
		}
	}()
}

// callAgain calls the others until that succeeds, or has failed some times.
func (f *Follower) callAgain() (err error) {
	pause := firstPause
	for i := range cryTimes {
		if i > 0 {
			time.Sleep(pause)
			pause *= 2
		}
		ctx, cancel := context.WithTimeout(context.Background(), cryFor)
		_, err = f.config.Wake.Call(ctx)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
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
