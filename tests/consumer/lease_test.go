// Package consumer_test has the tests of internal/consumer that need a database.
package consumer_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestLeasePutsDeadLettersWhileItIsRenewed: a renewal that is on its way while a
// change becomes a dead letter does not bring back the cursor from before.
func TestLeasePutsDeadLettersWhileItIsRenewed(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, server *testdatabase.Server) {
		s, l := acquire(t, server)
		go l.Keep()
		over, ended := make(chan struct{}), make(chan struct{})
		defer func() {
			close(over)
			<-ended
			l.GiveUp()
		}()
		go func() { // renews it all the time
			defer close(ended)
			for {
				select {
				case <-over:
					return
				default:
					_ = l.Renew(t.Context())
				}
			}
		}()

		for tid := int64(1); tid <= 100; tid++ {
			to := progress.Cursor{Place: store.Place{TID: tid, CommitID: "mark"}}
			require.NoError(t, l.PutDeadLetter(to, progress.DeadLetter{TID: tid, CommitID: "mark", Realm: "ticket", ID: "1"}))
			row, _, err := s.FindConsumer(t.Context(), "log")
			require.NoError(t, err)
			require.Equal(t, to, row.Cursor)
		}
	})
}

// TestLeaseDoubtsNoRenewal: a renewal whose answer is lost does not bring back the
// cursor from before either.
func TestLeaseDoubtsNoRenewal(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, server *testdatabase.Server) {
		s, l := acquire(t, server)
		lost, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, l.Renew(lost))
		to := progress.Cursor{Place: store.Place{TID: 5, CommitID: "mark"}}
		require.NoError(t, l.PutDeadLetter(to, progress.DeadLetter{TID: 5, CommitID: "mark", Realm: "ticket", ID: "1"}))
		require.NoError(t, l.Renew(t.Context()))
		row, _, err := s.FindConsumer(t.Context(), "log")
		require.NoError(t, err)
		require.Equal(t, to, row.Cursor)
	})
}

// TestLeaseCountsFromWhatRenewedIt: if the answer to a move was lost, the lease is
// not thought to last from the question on that found it done.
func TestLeaseCountsFromWhatRenewedIt(t *testing.T) {
	s, l := acquire(t, testdatabase.New(t, "sqlite"))
	row, _, err := s.FindConsumer(t.Context(), "log")
	require.NoError(t, err)
	to := progress.Cursor{Place: store.Place{TID: 5, CommitID: "mark"}}
	moved, err := s.MoveCursor(t.Context(), "log", row.Token, progress.Cursor{}, to, time.Minute)
	require.NoError(t, err)
	require.True(t, moved)
	l.Move(to)
	<-l.Due()
	require.NoError(t, l.Renew(t.Context()))
	require.NoError(t, l.WaitStored())
	require.NoError(t, l.Context().Err())
	require.Len(t, l.Due(), 1, "it is renewed at once")
	require.NoError(t, s.ReleaseLease(t.Context(), "log", row.Token))
	require.NoError(t, l.Renew(t.Context()))
	require.ErrorIs(t, context.Cause(l.Context()), consumer.ErrDeposed)
}

// acquire returns a journal's tables, and a lease in them that only the test
// renews.
func acquire(t *testing.T, server *testdatabase.Server) (*progress.Tables, *consumer.Lease) {
	t.Helper()
	db := server.New(t)
	st, err := store.Open(t.Context(), db, store.Config{Dialect: server.Dialect, Realms: []string{"ticket", "wiki"}})
	require.NoError(t, err)
	s := progress.Of(st, db)
	require.NoError(t, s.AddConsumer(t.Context(), "log", store.Place{}))
	row, _, err := s.FindConsumer(t.Context(), "log")
	require.NoError(t, err)
	asked := time.Now()
	token, taken, err := s.AcquireLease(t.Context(), row, "me", time.Minute, false)
	require.NoError(t, err)
	require.True(t, taken)
	return s, consumer.NewLease(t.Context(), s, row, token, time.Minute, asked)
}
