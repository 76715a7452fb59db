package tracbus

import (
	"context"
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
		require.NoError(t, j.store.AddConsumer(t.Context(), "log", store.Place{}))
		row, _, err := j.store.FindConsumer(t.Context(), "log")
		require.NoError(t, err)
		asked := time.Now()
		epoch, taken, err := j.store.AcquireLease(t.Context(), row, "me", time.Minute, false)
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
			to := store.Cursor{Place: store.Place{TID: tid, CommitID: "mark"}}
			require.NoError(t, l.putAside(to, store.DeadLetter{TID: tid, CommitID: "mark", Realm: "ticket", ID: "1"}))
			row, _, err := j.store.FindConsumer(t.Context(), "log")
			require.NoError(t, err)
			require.Equal(t, to, row.Cursor)
		}
	})
}

// TestLeaseDoubtsNoRenewal: a renewal whose answer is lost does not bring back the
// place from before either.
func TestLeaseDoubtsNoRenewal(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		l := idleLease(t, s)
		held := l.ctx
		lost, cancel := context.WithCancel(held)
		cancel()
		l.ctx = lost
		require.Error(t, l.renew())
		l.ctx = held
		to := store.Cursor{Place: store.Place{TID: 5, CommitID: "mark"}}
		require.NoError(t, l.putAside(to, store.DeadLetter{TID: 5, CommitID: "mark", Realm: "ticket", ID: "1"}))
		require.NoError(t, l.renew())
		row, _, err := l.store.FindConsumer(t.Context(), "log")
		require.NoError(t, err)
		require.Equal(t, to, row.Cursor)
	})
}

// TestLeaseCountsFromWhatRenewedIt: where the answer to a move was lost, the lease
// is not thought to last from the question on that found it done.
func TestLeaseCountsFromWhatRenewedIt(t *testing.T) {
	l := idleLease(t, testdatabase.New(t, "sqlite"))
	to := store.Cursor{Place: store.Place{TID: 5, CommitID: "mark"}}
	moved, err := l.store.MoveCursor(t.Context(), "log", l.epoch, store.Cursor{}, to, time.Minute)
	require.NoError(t, err)
	require.True(t, moved)
	l.over.Reset(time.Hour)
	l.wanted = to
	require.NoError(t, l.renew())
	require.NoError(t, l.stands())
	require.True(t, l.over.Reset(time.Hour))
	require.Len(t, l.work, 1, "it is renewed at once")
	require.NoError(t, l.store.ReleaseLease(t.Context(), "log", l.epoch))
	require.NoError(t, l.renew())
	require.ErrorIs(t, context.Cause(l.ctx), errDeposed)
}

// idleLease is a lease that only the test renews.
func idleLease(t *testing.T, s *testdatabase.Server) *lease {
	t.Helper()
	bus := NewBus("test")
	j, err := OpenJournal(t.Context(), s.New(t), bus, JournalConfig{Dialect: Dialect(s.Dialect), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, j.Close(context.Background()))
		require.NoError(t, bus.Close(context.Background()))
	})
	require.NoError(t, j.store.AddConsumer(t.Context(), "log", store.Place{}))
	row, _, err := j.store.FindConsumer(t.Context(), "log")
	require.NoError(t, err)
	epoch, taken, err := j.store.AcquireLease(t.Context(), row, "me", time.Minute, false)
	require.NoError(t, err)
	require.True(t, taken)
	l := &lease{store: j.store, name: "log", row: row, epoch: epoch, span: time.Minute, work: make(chan struct{}, 1), moved: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancelCause(t.Context())
	l.over = time.AfterFunc(time.Minute, func() {})
	t.Cleanup(func() { l.over.Stop() })
	return l
}
