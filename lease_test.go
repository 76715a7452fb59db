package tracbus

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testdatabase"
)

// TestLeaseSetsAsideWhileItIsRenewed: a renewal that is on its way while a change
// is set aside does not bring back the place from before.
func TestLeaseSetsAsideWhileItIsRenewed(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		bus := NewBus("test")
		j, err := OpenJournal(t.Context(), s.New(t), bus, JournalConfig{Dialect: Dialect(s.Dialect), Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		require.NoError(t, j.store.AddOnce(t.Context(), "log", store.Place{}))
		row, _, err := j.store.FindOnce(t.Context(), "log")
		require.NoError(t, err)
		asked := time.Now()
		epoch, taken, err := j.store.TakeOnce(t.Context(), row, "me", time.Minute, false)
		require.NoError(t, err)
		require.True(t, taken)
		l := hold(t.Context(), j.store, row, epoch, time.Minute, asked)
		over, ended := make(chan struct{}), make(chan struct{})
		defer func() {
			close(over)
			<-ended
			l.giveUp()
			require.NoError(t, j.Close(t.Context()))
			require.NoError(t, bus.Close(t.Context()))
		}()
		go func() { // has it renewed all the time
			defer close(ended)
			for {
				select {
				case l.work <- struct{}{}:
				case <-over:
					return
				}
			}
		}()

		for tid := int64(1); tid <= 100; tid++ {
			to := store.Cursor{Place: store.Place{TID: tid, Mark: "mark"}}
			require.NoError(t, l.putAside(to, store.Aside{TID: tid, Mark: "mark", Realm: "ticket", ID: "1"}))
			row, _, err := j.store.FindOnce(t.Context(), "log")
			require.NoError(t, err)
			require.Equal(t, to, row.Cursor)
		}
	})
}
