package entry

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/tracecontext"
	"github.com/tracbus/tracbus/internal/wire"
)

// TestRow: an entry comes back from its rows, with every type of value, and with
// maps that are nil or empty as they were.
func TestRow(t *testing.T) {
	at := time.UnixMicro(1_700_000_000_123_456).UTC()
	for name, e := range map[string]Entry{
		"all values": {
			Resource: Resource{"ticket", "7"}, Kind: "changed", Time: at, Author: "joe", IPNR: "::1", Authenticated: true, Comment: "why", Env: "project",
			Null: wire.OldText, Absent: wire.Values,
			State: Fields{"null": nil, "text": "t", "yes": true, "n": json.Number("1.50"), "at": at},
			New:   Fields{"null": nil, "text": "t", "yes": true, "n": json.Number("1.50"), "at": at},
			Old:   Fields{"null": "was", "gone": false},
		},
		"a trace": {
			Resource: Resource{"wiki", "A"}, Kind: "created", Time: at,
			Trace: tracecontext.Context{Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", State: `rojo=00f067aa0ba902b7,a="b\`},
			State: Fields{"trace": "a field's"}, New: Fields{}, Old: Fields{},
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

// TestHostileTrace: a trace that no request has, whoever wrote it to the table, is none, and the
// change is read all the same.
func TestHostileTrace(t *testing.T) {
	plain := Entry{Resource: Resource{"wiki", "A"}, Kind: "created", Time: time.UnixMicro(1).UTC(), State: Fields{"a": "b"}}
	row, err := Row(plain)
	require.NoError(t, err)
	for _, trace := range []string{
		`"x"`, `""`, `null`, `7`, `{"a":"b"}`, `["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]`,
		`"00-00000000000000000000000000000000-b7ad6b7169203331-01"`, `"` + strings.Repeat("0", 1<<20) + `"`,
	} {
		hostile := row
		hostile.Document = strings.Replace(row.Document, `,"state"`, `,"trace":`+trace+`,"state"`, 1)
		require.NotEqual(t, row.Document, hostile.Document)
		back, err := FromRow(hostile)
		require.NoError(t, err, "%.80s", trace)
		assert.Equal(t, plain, back, "%.80s", trace)
	}
}

// TestRowOfAnotherEnv: a row that was written by hand has an env that no channel could have.
func TestRowOfAnotherEnv(t *testing.T) {
	row, err := Row(Entry{Resource: Resource{"ticket", "7"}, Kind: "changed"})
	require.NoError(t, err)
	row.Env = "a\nb"
	_, err = FromRow(row)
	assert.ErrorContains(t, err, `env "a\nb": expected UTF-8 without control characters`)
}
