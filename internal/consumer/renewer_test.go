package consumer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestPause: cursors wait for each other as long as a statement takes; while others
// commit, the longer the more there are; and never long. The clock is that of a bubble.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRenewer(nil, newSlots(4))
		ms := time.Millisecond
		assert.Equal(t, []time.Duration{2 * ms, 5 * ms}, []time.Duration{r.pause(50, 2*ms), r.pause(50, time.Second)}, "nothing is new")
		<-time.After(time.Second)
		r.news.Store(time.Now().UnixMicro())
		for range 2 {
			assert.Equal(t, []time.Duration{2 * ms, 4 * ms, 14 * ms, 20 * ms},
				[]time.Duration{r.pause(2, 2*ms), r.pause(10, 2*ms), r.pause(50, 2*ms), r.pause(1000, 2*ms)}, "others commit")
			<-time.After(30 * ms)
		}
		<-time.After(ms)
		assert.Equal(t, 2*ms, r.pause(50, 2*ms), "they did")
	})
}
