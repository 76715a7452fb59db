package consumer_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
)

// watchRestorable is a process with a listener of every event under a name.
func watchRestorable(t *testing.T, k *desk.Restorable, log *deliveries, lines *testkit.LogRecorder) *desk.Desk {
	t.Helper()
	c := tracbus.DurableConfig{LeaseFor: 600 * time.Millisecond, FromOldest: true}
	return seatListener(t, k.Server, "", c, log.handle, desk.Config{DB: k.Open(t, k.Source), Journal: tracbus.JournalConfig{Logger: slog.New(lines)}})
}

// ends waits until something was told, and returns all that was: names
// of pages, and reasons of Resyncs in brackets.
func (l *deliveries) ends(t *testing.T, last string) (all []string) {
	t.Helper()
	testkit.Until(t, "told: "+last, func() bool {
		told, _ := l.events()
		all = nil
		for _, e := range told {
			if r, ok := e.(tracbus.Resync); ok {
				all = append(all, fmt.Sprintf("(%s)", r.Reason))
			} else {
				all = append(all, e.Resource().ID)
			}
		}
		return slices.Contains(all, last) // a Resync may follow
	})
	return all
}

// TestDurableRestored puts databases back to an older copy under a holder and
// another that would take over. No new change is suppressed, though its tid was
// told before, and the listener is told before the first of them.
func TestDurableRestored(t *testing.T) {
	for _, dialect := range []string{"sqlite", "postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) {
			testkit.NoLeaks(t)
			k := desk.NewRestorable(t, dialect)
			log, lines := newDeliveries(), new(testkit.LogRecorder)
			processes := []*desk.Desk{watchRestorable(t, k, log, lines), watchRestorable(t, k, log, lines)}
			k.Add(t, testkit.Numbered("a", 1, 3)...)
			log.ends(t, "a03")
			restore := k.Backup(t)
			for round, prefix := range []string{"b", "c"} {
				k.Add(t, testkit.Numbered(prefix, 1, 6)...)
				before := len(log.ends(t, prefix+"06"))
				for _, d := range processes { // else one that goes on may know of nothing that is gone
					d.Until(t, prefix+"06", func(all, _ []tracbus.Event) bool { return slices.Contains(resourceIDs(all), prefix+"06") })
				}
				if round == 1 { // the new history is longer than the old one when it is seen
					for _, d := range processes {
						d.Pause(t)
					}
				}
				_, turns := log.events()
				restore()
				next := string(prefix[0] + 10)
				k.Add(t, testkit.Numbered(next, 1, 9)...)
				if round == 1 {
					for _, d := range processes {
						d.Follow()
					}
				}
				told := log.ends(t, next+"09")[before:]
				resync := slices.Index(told, "(rewound)")
				first := slices.Index(told, next+"01")
				require.GreaterOrEqual(t, first, 0, "%v", told)
				assert.GreaterOrEqual(t, resync, 0, "%v", told)
				assert.Less(t, resync, first, "%v", told)
				var fresh []string
				for _, page := range told {
					if page[0] == next[0] && !slices.Contains(fresh, page) {
						fresh = append(fresh, page)
					}
				}
				assert.Equal(t, testkit.Numbered(next, 1, 9), fresh, "%v", told)
				_, later := log.events()
				assert.GreaterOrEqual(t, later[len(later)-1].Token, turns[len(turns)-1].Token, "although the row's epoch went back")
				testkit.Until(t, "all is done", func() bool { return processes[0].Consumer(t, "log").Lag == 0 })
			}
		})
	}
}

// TestDurableJournalRestored loses changes from the journal's tables alone, so that
// the name's row is ahead of them: what came in their place is told.
func TestDurableJournalRestored(t *testing.T) {
	for _, rested := range []bool{false, true} {
		t.Run(fmt.Sprint("while Run rests: ", rested), func(t *testing.T) {
			testkit.NoLeaks(t)
			k := desk.NewRestorable(t, "sqlite")
			log, lines := newDeliveries(), new(testkit.LogRecorder)
			d := watchRestorable(t, k, log, lines)
			k.Add(t, testkit.Numbered("a", 1, 9)...)
			log.ends(t, "a09")
			if rested {
				d.Pause(t)
			}
			tx, err := d.DB.BeginTx(context.Background(), nil)
			require.NoError(t, err)
			_, err = tx.Exec("DELETE FROM journal_change WHERE tid > 4")
			require.NoError(t, err)
			require.NoError(t, tx.Commit())
			k.Add(t, testkit.Numbered("b", 1, 20)...)
			if rested {
				d.Follow()
			}
			told := log.ends(t, "b20")
			assert.Contains(t, told, "(rewound)")
			told = slices.DeleteFunc(told, func(page string) bool { return page == "(rewound)" })
			assert.Equal(t, testkit.Numbered("b", 1, 20), told[len(told)-20:], "%v", told)
			assert.Len(t, lines.With("a consumer goes on where the journal is known"), 1)
		})
	}
}

// TestDurableRestoredToBefore puts databases back to before a name was made, and has the
// process follow the new history before it makes the name again: nothing of that history
// is left out, whether the process had run before or only opened the journal.
func TestDurableRestoredToBefore(t *testing.T) {
	for _, dialect := range []string{"sqlite", "postgresql", "mysql"} {
		for _, ran := range []bool{false, true} {
			t.Run(fmt.Sprint(dialect, ", ran before: ", ran), func(t *testing.T) {
				testkit.NoLeaks(t)
				k := desk.NewRestorable(t, dialect)
				k.Add(t, testkit.Numbered("a", 1, 2)...)
				restore := k.Backup(t)
				k.Add(t, testkit.Numbered("b", 1, 3)...)
				log := newDeliveries()
				c := tracbus.DurableConfig{LeaseFor: 600 * time.Millisecond}
				d := seatListener(t, k.Server, "", c, log.handle, desk.Config{DB: k.Open(t, k.Source), Idle: true})
				hears := func(page string) {
					d.Until(t, page, func(all, _ []tracbus.Event) bool { return slices.Contains(resourceIDs(all), page) })
				}
				before := 0
				if ran {
					d.Follow()
					k.Add(t, "b04")
					hears("b04")
					before = len(log.ends(t, "b04"))
					d.Pause(t)
				}
				restore()
				k.Add(t, testkit.Numbered("c", 1, 6)...)
				d.Follow()
				hears("c06")
				isMade := func() bool {
					st, err := d.Status(testkit.Within(t))
					return err == nil && len(st.Consumers) == 1
				}
				testkit.Until(t, "the name is made again", isMade)
				k.Add(t, "c07")
				told := log.ends(t, "c07")
				fresh := slices.DeleteFunc(slices.Clone(told[before:]), func(page string) bool { return page[0] == 'a' }) // heard again, or not
				fresh = slices.Compact(fresh)                                                                             // a lease that a slow machine has lost repeats a call
				assert.Equal(t, append([]string{"(rewound)"}, testkit.Numbered("c", 1, 7)...), fresh)
				testkit.Until(t, "all is done", func() bool { return d.Consumer(t, "log").Lag == 0 })

				// One that is dropped begins after the newest all the same.
				require.NoError(t, d.DropConsumer(testkit.Within(t), "log"))
				testkit.Until(t, "the name is made again", isMade)
				k.Add(t, "c08")
				assert.Equal(t, []string{"c08"}, log.ends(t, "c08")[len(told):])
			})
		}
	}
}
