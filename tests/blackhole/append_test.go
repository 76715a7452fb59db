package blackhole_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// On MySQL, a COMMIT goes with the journal's rows in one round trip. While the server has
// it wait for a resource, it is waited for. When the server rests, and has said nothing,
// the answer is lost, as after a KILL QUERY between two statements: that ends at once, and
// does not hold the resource for as long as a lock may be waited for.
func TestAppendWaitsWhileTheServerWorks(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	name := s.Name()
	proxy := testserver.Proxy(t, s.MariaDB.Addr())
	patient := func(ctx context.Context) context.Context {
		return store.WithLimits(ctx, store.Limits{Answer: 400 * time.Millisecond, Commit: 400 * time.Millisecond, Rollback: 200 * time.Millisecond, Lock: time.Hour})
	}
	direct := s.Open(t, s.DSN(name))
	d := desk.Seat(t, s, "", desk.Config{DB: s.Open(t, s.DSNVia(proxy.Addr(), name)), Opening: patient})

	holder, err := direct.BeginTx(testkit.Within(t), nil)
	require.NoError(t, err)
	var locked int64
	require.NoError(t, holder.QueryRowContext(testkit.Within(t), "SELECT count(*) FROM journal_lock FOR UPDATE").Scan(&locked))
	committed := make(chan error, 1)
	go func() {
		_, err := d.Update(context.Background(), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			return tx.Record(context.Background(), desk.Remark(1, "waits"))
		})
		committed <- err
	}()
	select {
	case err := <-committed:
		t.Fatalf("it did not wait for the resource: %v", err)
	case <-time.After(2 * time.Second): // five times as long as an answer is waited for
	}
	require.NoError(t, holder.Rollback())
	require.NoError(t, <-committed)

	tx, err := d.Begin(testkit.Within(t))
	require.NoError(t, err)
	require.NoError(t, tx.Prepare(desk.Joe, ""))
	require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, "unheard")))
	proxy.DropReplies()
	_, err = tx.Commit(context.Background())
	var unknown *tracbus.CommitUnknownError
	require.ErrorAs(t, err, &unknown)
	assert.True(t, errors.Is(err, store.ErrInDoubt))
	proxy.Resume()
	proxy.Cut()
	tid, err := unknown.Transaction.Outcome(testkit.Within(t))
	require.NoError(t, err)
	require.NoError(t, d.Wait(testkit.Within(t), tid))
}
