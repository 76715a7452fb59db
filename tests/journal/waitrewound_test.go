package journal_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
)

// TestWaitBeforeARewindIsNoticed puts a database back, commits, and waits for the tid, which
// is below the place that the process had reached before: nobody has noticed anything yet.
func TestWaitBeforeARewindIsNoticed(t *testing.T) {
	for _, dialect := range []string{"sqlite", "postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) {
			testkit.NoLeaks(t)
			k := desk.NewRestorable(t, dialect)
			var handled testkit.Diary
			var consumer *tracbus.Registration
			seat := func() *desk.Desk {
				return desk.Seat(t, k.Server, "", desk.Config{DB: k.Open(t, k.Source), Before: func(b *tracbus.Bus) {
					consumer = tracbus.On(b, tracbus.DurableConfig{LeaseFor: 300 * time.Millisecond}.Durable("log"), func(_ context.Context, e tracbus.WikiPageCreated) error {
						handled.Write("%s", e.Page.Name)
						return nil
					})
				}})
			}
			seat().Leave(t)
			k.Add(t, testkit.Numbered("kept", 1, 3)...)
			restore := k.Backup(t)
			last := k.Add(t, testkit.Numbered("gone", 1, 9)...)
			d := seat()
			last = max(last, d.Create(t, "gone10"))
			require.NoError(t, d.Wait(testkit.Within(t), last))
			require.NoError(t, consumer.Wait(testkit.Within(t)))
			d.Pause(t)
			d.ForgetHeard()

			restore()
			var tid int64
			testkit.Until(t, "the pool has met its broken connections", func() bool {
				var err error
				tid, err = d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
					return tx.Record(testkit.Within(t), desk.NewPage("new"))
				})
				return err == nil
			})
			require.Less(t, tid, last)
			short, cancel := context.WithTimeout(testkit.Within(t), 100*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, d.Wait(short, tid), context.DeadlineExceeded, "nobody has read it")

			var waits sync.WaitGroup
			waits.Go(func() { assert.NoError(t, consumer.Wait(testkit.Within(t))); assert.Contains(t, handled.Read(), "new") })
			waits.Go(func() {
				assert.NoError(t, d.Wait(testkit.Within(t), tid))
				all, _ := d.Heard()
				if assert.NotEmpty(t, all) {
					assert.Equal(t, "(rewound)", desk.Brief(all[0]))
					assert.Equal(t, "new", all[len(all)-1].Resource().ID)
				}
			})
			time.AfterFunc(20*time.Millisecond, d.Follow) // while they wait
			waits.Wait()

			d.Pause(t)
			restore() // and Close is all that comes after a commit
			testkit.Until(t, "a commit", func() bool {
				_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
					return tx.Record(testkit.Within(t), desk.NewPage("newest"))
				})
				return err == nil
			})
			d.Leave(t)
			_, primary := d.Heard()
			assert.Equal(t, "newest", primary[len(primary)-1].Resource().ID)
		})
	}
}
