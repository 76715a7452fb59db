package consumer

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/progress"
)

// TestAcquiredAtTheEnd: a lease that is acquired in the moment in which its process is
// to end is not dropped in silence, so that others would wait until it has expired.
func TestAcquiredAtTheEnd(t *testing.T) {
	c := newContest(nil, "me", newSlots(4))
	ctx, end := context.WithCancel(context.Background())
	defer end()
	go func() {
		<-c.wishing
		c.mu.Lock()
		defer c.mu.Unlock()
		end()
		w := c.wishes[0]
		time.Sleep(10 * time.Millisecond) // whoever wished sees the end first
		w.token = 7
		assert.False(t, w.gone)
		close(w.done)
	}()
	token, _, err := c.acquire(ctx, progress.Consumer{Name: "log"}, time.Second, false)
	require.NoError(t, err)
	assert.EqualValues(t, 7, token)
}
