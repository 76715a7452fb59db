package entry

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/wire"
)

// TestRow: an entry comes back from its rows, with every type of value, and with
// maps that are nil or empty as they were.
func TestRow(t *testing.T) {
	at := time.UnixMicro(1_700_000_000_123_456).UTC()
	for name, e := range map[string]Entry{
		"all values": {
			Resource: Resource{"ticket", "7"}, Kind: "changed", Time: at, Author: "joe", IPNR: "::1", Authenticated: true, Comment: "why",
			Null: wire.OldText, Absent: wire.Values,
			State: Fields{"null": nil, "text": "t", "yes": true, "n": json.Number("1.50"), "at": at},
			New:   Fields{"null": nil, "text": "t", "yes": true, "n": json.Number("1.50"), "at": at},
			Old:   Fields{"null": "was", "gone": false},
		},
		"nil maps":   {Resource: Resource{"wiki", "A"}, Kind: "created", Time: at},
		"empty maps": {Resource: Resource{"wiki", "A"}, Kind: "created", Time: at, State: Fields{}, New: Fields{}, Old: Fields{}},
		"no time":    {Resource: Resource{"wiki", "A"}, Kind: "created", Null: wire.Time},
	} {
		t.Run(name, func(t *testing.T) {
			row, err := Row(e)
			require.NoError(t, err)
			back, err := FromRow(row)
			require.NoError(t, err)
			assert.Equal(t, e, back)
		})
	}
}
