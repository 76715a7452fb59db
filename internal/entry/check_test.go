package entry

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCheckTimes: times come to be as a journal gives them back, in UTC, so that one that is put
// back undoes its change; whoever has the fields too keeps what he had.
func TestCheckTimes(t *testing.T) {
	at := time.Date(2020, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 2*60*60))
	for _, normalised := range []bool{false, true} {
		given := Fields{"due": at, "status": "new"}
		e := Entry{Resource: Resource{"ticket", "1"}, Kind: changed, State: given, New: Fields{"due": at}, Old: Fields{"due": at.UTC()}}
		e.Time = at
		require.NoError(t, e.Check(normalised, func(string, string) error { return nil }))
		assert.Equal(t, at.UTC(), e.Time)
		assert.Equal(t, Fields{"due": at.UTC(), "status": "new"}, e.State)
		assert.Equal(t, e.Old, e.New)
		assert.Equal(t, Fields{"due": at, "status": "new"}, given)
	}
}
