package tracbus

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestShownForgets asks in order, and more than once for one tid.
func TestShownForgets(t *testing.T) {
	s := shown{journal: true, upTo: 3, later: []int64{5, 7, 8}}
	var shown []int64
	for tid := int64(1); tid < 12; tid++ {
		for range 2 {
			if s.has(tid) {
				shown = append(shown, tid)
			}
		}
	}
	assert.Equal(t, []int64{1, 1, 2, 2, 3, 3, 5, 5, 7, 7, 8, 8}, shown)
	assert.Nil(t, s.later)
	assert.True(t, s.has(2))
}
