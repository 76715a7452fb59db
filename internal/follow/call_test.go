package follow

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus/internal/testkit"
)

// TestCalls: a commit after a while is called at once; commits that follow each other are
// one call a millisecond, and the last of them is in one. The clock is that of a bubble.
func TestCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var calls []time.Duration
		f := &Follower{kick: make(chan struct{}, 1), announce: make(chan struct{}, 1), config: Config{Wake: &Wake{
			Call: func(context.Context) (bool, error) {
				calls = append(calls, time.Since(began))
				return true, nil
			},
		}}}
		ctx, cancel := context.WithCancel(t.Context())
		go f.call(ctx, &wakeLog{logger: testkit.Quiet, lost: map[direction]bool{}})
		commit := func(after time.Duration) {
			<-time.After(after)
			f.Hint()
			synctest.Wait()
		}
		commit(time.Second)
		assert.Equal(t, []time.Duration{time.Second}, calls, "at once")
		for range 10 { // in the 2.5 ms after that call
			commit(250 * time.Microsecond)
		}
		<-time.After(time.Second)
		assert.Equal(t, []time.Duration{0, 1, 2, 3}, []time.Duration{
			calls[0] - time.Second, (calls[1] - time.Second) / time.Millisecond, (calls[2] - time.Second) / time.Millisecond, (calls[3] - time.Second) / time.Millisecond,
		})
		assert.Len(t, calls, 4)
		calls = nil
		commit(0)
		assert.Equal(t, []time.Duration{time.Since(began)}, calls, "at once again")
		cancel()
		synctest.Wait()
	})
}
