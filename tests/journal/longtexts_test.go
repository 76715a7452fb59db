package journal_test

import (
	"fmt"
	"iter"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestHistoryOfLongTexts: whoever writes long texts again and again does not fill the memory of those
// who read them back: a few are held at once.
func TestHistoryOfLongTexts(t *testing.T) {
	const changes, long = 300, 100_000 // 30 MB
	s := testdatabase.New(t, "sqlite")
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Idle: true})
	for n := range changes {
		d.Say(t, fmt.Sprint(n, strings.Repeat("x", long)), 1)
	}
	live := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for name, events := range map[string]iter.Seq2[tracbus.Event, error]{
		"History":       d.History(testkit.Within(t), tracbus.TicketResource(1)),
		"HistoryBefore": d.HistoryBefore(testkit.Within(t), tracbus.TicketResource(1), 0),
		"Before":        d.Journal.Before(testkit.Within(t), 0),
	} {
		before, most, n := live(), int64(0), 0
		for _, err := range events {
			require.NoError(t, err)
			if n++; n%4 == 0 {
				most = max(most, live()-before)
			}
		}
		assert.Equal(t, changes, n, name)
		assert.Less(t, most, int64(60*long), "%s holds too many at once", name)
		t.Logf("%s: %d kB at once", name, most/1000)
	}
}
