package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWhereALoopBegins: its state, and where another loop would go on.
func TestWhereALoopBegins(t *testing.T) {
	for after, want := range map[string]struct {
		state  state
		id     ID
		resume string
	}{
		"":    {finding{reason: Begun}, ID{}, ""},
		"0":   {finding{reason: Begun, oldest: true}, ID{}, "0"},
		"0-0": {following{}, ID{}, "0-0"},
		"7":   {following{}, ID{7, 0}, "7-0"},
	} {
		begin, err := beginAfter(after)
		require.NoError(t, err, after)
		l := loop{place: begin.place, state: begin.state}
		assert.Equal(t, want.state, l.state, after)
		assert.Equal(t, place{id: want.id, linked: want.id}, l.place, after)
		assert.Equal(t, want.resume, l.resumeAt(), after)
	}
}

// TestAStreamThatEndsBeforeThePlace: what a loop makes of it, look by look.
func TestAStreamThatEndsBeforeThePlace(t *testing.T) {
	var items []Item
	at := place{id: ID{9, 0}, linked: ID{8, 0}, commit: "m9"}
	l := loop{place: at, state: following{}, config: Config{Refill: time.Second}, yield: func(i Item) bool { items = append(items, i); return true }}
	l.fall(ID{6, 0})
	assert.Equal(t, fallen{lowest: ID{6, 0}}, l.state)
	l.state = fallen{lowest: ID{6, 0}, waited: 500 * time.Millisecond}
	l.fall(ID{7, 0}) // it is being filled
	assert.Equal(t, fallen{lowest: ID{6, 0}, waited: 500 * time.Millisecond}, l.state)
	l.fall(ID{5, 0}) // it fell again
	assert.Equal(t, fallen{lowest: ID{5, 0}, waited: 500 * time.Millisecond}, l.state)
	assert.Equal(t, at, l.place)
	assert.Empty(t, items)

	l.state = fallen{lowest: ID{5, 0}, waited: time.Second}
	l.fall(ID{7, 0}) // too late
	assert.Equal(t, following{}, l.state)
	assert.Equal(t, place{id: ID{5, 0}, linked: ID{8, 0}}, l.place)
	assert.Equal(t, []Item{{ID: "5-0", Gap: &Gap{Reason: Reset, After: 8}}}, items)

	l.restart() // it has something else at the place
	assert.Equal(t, finding{reason: Reset, oldest: true}, l.state)
	assert.Equal(t, "0", l.resumeAt())
	assert.Len(t, items, 1, "the gap is yielded when the place is found")

	l.place, l.state = place{id: ID{3<<TIDBits | 9, 0}}, fallen{lowest: ID{5, 0}}
	l.restart()
	assert.Equal(t, finding{reason: Reset, oldest: true}, l.state, "it ended in another generation")
}
