package consumer

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
)

// TestPause: cursors wait for each other as long as a statement takes; while others
// commit, the longer the more there are, unless one is far behind; and never long. The clock
// is that of a bubble.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRenewer(nil, newSlots(4))
		ms := time.Millisecond
		at := func(tid int64, cursors int) []progress.Move {
			return slices.Repeat([]progress.Move{{To: progress.Cursor{Place: store.Place{TID: tid}}}}, cursors)
		}
		assert.Equal(t, []time.Duration{2 * ms, 5 * ms}, []time.Duration{r.pause(at(100, 50), 2*ms), r.pause(at(100, 50), time.Second)}, "nothing is new")
		<-time.After(time.Second)
		r.hear(store.Batch{Places: []store.Place{{TID: 99}, {TID: 100}}})
		for range 2 {
			assert.Equal(t, []time.Duration{2 * ms, 4 * ms, 14 * ms, 20 * ms},
				[]time.Duration{r.pause(at(100, 2), 2*ms), r.pause(at(90, 10), 2*ms), r.pause(at(68, 50), 2*ms), r.pause(at(100, 1000), 2*ms)}, "others commit")
			assert.Equal(t, 2*ms, r.pause(append(at(100, 49), at(67, 1)...), 2*ms), "one is behind")
			<-time.After(30 * ms)
		}
		<-time.After(ms)
		assert.Equal(t, 2*ms, r.pause(at(100, 50), 2*ms), "they did")
	})
}
