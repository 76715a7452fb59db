package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

// tell tells a timeline of the first change of a transaction.
func tell(t *testing.T, l *timeline, tid int64) {
	t.Helper()
	require.NoError(t, l.tell(context.Background(), tracbus.TicketChanged{Change: tracbus.Change{TID: tid, CommitID: fmt.Sprint("m", tid)}, ID: tid}))
}

// A timeline has the last changes, and knows which it does not have.
func TestTimeline(t *testing.T) {
	l := newTimeline()
	lines, complete, changed, resyncs := l.behind(place{})
	assert.Empty(t, lines)
	assert.False(t, complete, "nothing is known of what was before")
	for tid := int64(10); tid < 10+2*timelineLines; tid++ {
		tell(t, l, tid)
	}
	<-changed
	behind := func(tid int64, seq int) (tids []int64, complete bool) {
		lines, complete, _, _ := l.behind(place{tid: tid, seq: seq})
		for _, l := range lines {
			tids = append(tids, l.tid)
		}
		return tids, complete
	}
	for _, tc := range []struct {
		tid      int64
		seq      int
		first, n int64
		complete bool
	}{
		{9, 0, 10, 2000, false},
		{10, 0, 11, 1999, true},
		{10, 1, 11, 1999, true},
		{2008, 0, 2009, 1, true},
		{2009, 0, 0, 0, true},
		{3000, 0, 0, 0, true},
	} {
		tids, complete := behind(tc.tid, tc.seq)
		assert.Equal(t, tc.complete, complete, "behind %d.%d", tc.tid, tc.seq)
		require.EqualValues(t, tc.n, len(tids), "behind %d.%d", tc.tid, tc.seq)
		for i, tid := range tids {
			require.Equal(t, tc.first+int64(i), tid, "behind %d.%d", tc.tid, tc.seq)
		}
	}

	old, _, _, _ := l.behind(place{tid: 2000})
	tell(t, l, 2010) // the older half goes
	assert.EqualValues(t, 2001, old[0].tid, "what a stream reads stays")
	tids, complete := behind(1009, 0)
	assert.False(t, complete, "%d is not kept any more", 1010-1)
	assert.Len(t, tids, timelineLines+1)
	_, complete = behind(1010, 0)
	assert.True(t, complete)

	require.NoError(t, l.tell(context.Background(), tracbus.Resync{Reason: tracbus.ResyncRewound}))
	lines, complete, _, again := l.behind(place{tid: 2010})
	assert.Empty(t, lines)
	assert.False(t, complete)
	assert.Equal(t, resyncs+1, again)
}
