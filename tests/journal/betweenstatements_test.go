package journal_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
)

// TestRewoundBetweenStatements puts a database back, and has others take the tids, between
// two statements of a process that reads again for a listener whose queue was full: no listener is told of the new history before it is told that the old one is gone.
func TestRewoundBetweenStatements(t *testing.T) {
	for _, dialect := range []string{"sqlite"} {
		t.Run(dialect, func(t *testing.T) {
			testkit.NoLeaks(t)
			k := desk.NewRestorable(t, dialect)
			k.Add(t, "kept")
			restore := k.Backup(t)
			for _, c := range []struct {
				name, before string
				times        int64 // the last of them is when it is put back
			}{
				{"reads again", "ORDER BY tid, seq LIMIT", 1},
				{"reads again, later", "ORDER BY tid, seq LIMIT", 2},
			} {
				t.Run(c.name, func(t *testing.T) {
					restore()
					var left atomic.Int64
					var heard testkit.Diary
					asleep, alarm := make(chan struct{}, 1), make(chan struct{})
					hear := func(_ context.Context, e tracbus.Event) error {
						if r, ok := e.(tracbus.Resync); ok {
							heard.Write("(%s)", r.Reason)
						} else {
							heard.Write("%s", e.Resource().ID)
						}
						select {
						case asleep <- struct{}{}:
						default:
						}
						<-alarm
						return nil
					}
					pool := k.Hooked(t, k.Source, func(_ context.Context, query string) error {
						if strings.Contains(query, c.before) && left.Add(-1) == 0 {
							restore()
							k.Add(t, testkit.Numbered("new", 1, 3)...)
						}
						return nil
					})
					var r *tracbus.Registration
					d := desk.Seat(t, k.Server, "", desk.Config{
						DB: pool, Idle: true, Bus: tracbus.BusConfig{QueueSize: 1, BatchSize: 1},
						Before: func(b *tracbus.Bus) { r = tracbus.On(b, tracbus.Everywhere, hear) },
					})
					k.Add(t, testkit.Numbered("old", 1, 6)...)
					d.Follow()
					<-asleep
					d.Until(t, "all", func(all, _ []tracbus.Event) bool { return len(all) == 6 })
					d.Pause(t)
					close(alarm)
					testkit.Until(t, "there is room", func() bool { return r.Status().Waiting == 0 })
					left.Store(c.times)
					d.Follow()
					testkit.Until(t, "it hears of it, and of what is new", func() bool {
						return slices.Contains(heard.Read(), "new03") && slices.Contains(heard.Read(), "(rewound)")
					})
					told := heard.Read()
					at := slices.Index(told, "(rewound)")
					for _, name := range told[:at] {
						assert.NotContains(t, name, "new", "%v", told)
					}
					assert.Equal(t, testkit.Numbered("new", 1, 3), told[len(told)-3:], "%v", told)
					d.Leave(t)
				})
			}
		})
	}
}
