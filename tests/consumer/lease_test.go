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
		s, l, _ := acquire(t, server)
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
					l.Renew()
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

// TestLeaseCountsFromWhatRenewedIt: if the answer to a move was lost, the move is
// found to be stored; and the lease is renewed at once, because it does not last from
// the question on that found it.
func TestLeaseCountsFromWhatRenewedIt(t *testing.T) {
	s, l, token := acquire(t, testdatabase.New(t, "sqlite"))
	to := progress.Cursor{Place: store.Place{TID: 5, CommitID: "mark"}}
	claim := []progress.Claim{{Name: "log", Token: token}}
	n, err := s.MoveCursors(t.Context(), time.Minute, []progress.Move{{Claim: claim[0], To: to}})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	before, _, err := s.FindConsumer(t.Context(), "log")
	require.NoError(t, err)
	l.Move(to, true)
	require.NoError(t, l.WaitStored())
	require.NoError(t, l.Context().Err())
	reach(t, "it is renewed at once", func() bool {
		row, _, err := s.FindConsumer(t.Context(), "log")
		return err == nil && row.Heartbeat > before.Heartbeat
	})
	require.NoError(t, s.ReleaseLeases(t.Context(), claim))
	l.Renew()
	<-l.Context().Done()
	require.ErrorIs(t, context.Cause(l.Context()), consumer.ErrDeposed)
}

// acquire returns a journal's tables, and a lease in them with its token.
func acquire(t *testing.T, server *testdatabase.Server) (*progress.Tables, *consumer.Lease, int64) {
	t.Helper()
	db := server.New(t)
	st, err := store.Open(t.Context(), db, store.Config{Dialect: server.Dialect, Realms: []string{"ticket", "wiki"}})
	require.NoError(t, err)
	s := progress.Of(st, db)
	require.NoError(t, s.AddConsumers(t.Context(), store.Place{}, "log"))
	row, _, err := s.FindConsumer(t.Context(), "log")
	require.NoError(t, err)
	asked := time.Now()
	tokens, err := s.AcquireLeases(t.Context(), []progress.Consumer{row}, "me", time.Minute, false)
	require.NoError(t, err)
	require.Len(t, tokens, 1)
	renewer := consumer.NewRenewer(s, 0)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		renewer.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return s, renewer.Lease(t.Context(), row, tokens["log"], time.Minute, asked), tokens["log"]
}
