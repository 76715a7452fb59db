package pgxbus_test

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// apart is a desk whose application has one connection, through a proxy, on which a change was committed.
func apart(t *testing.T, limits store.Limits) (*desk, *testserver.TCPProxy) {
	t.Helper()
	var proxy *testserver.TCPProxy
	d := newDesk(t, options{
		limits: limits,
		via: func(addr string) string {
			proxy = testserver.Proxy(t, addr)
			return proxy.Addr()
		},
		config: func(c *pgxpool.Config) { c.MaxConns = 1 },
	})
	for _, ctx := range []context.Context{context.Background(), testkit.Within(t)} { // each has a statement of its own
		comment := fmt.Sprint(ctx)
		_, err := d.CommitWith(ctx, d.begin(1, comment), joe, changed(1, comment))
		require.NoError(t, err)
	}
	return d, proxy
}

type outcome struct {
	tid int64
	err error
}

// TestAnswerLost: a commit whose answer is lost is asked for, and found.
func TestAnswerLost(t *testing.T) {
	testkit.NoLeaks(t)
	d, proxy := apart(t, store.Limits{})
	tx := d.begin(2, "lost")
	done := make(chan outcome, 1)
	proxy.DropReplies()
	go func() {
		tid, err := d.CommitWith(context.Background(), tx, joe, changed(2, "lost"))
		done <- outcome{tid, err}
	}()
	testkit.Until(t, "it is committed", func() bool { return number(t, d.own, "SELECT count(*) FROM outbox WHERE comment = 'lost'") == 1 })
	proxy.Cut()
	got := <-done
	require.NoError(t, got.err)
	assert.Equal(t, number(t, d.own, "SELECT max(tid) FROM journal_change"), int(got.tid))
	proxy.Resume()
	_, err := d.CommitWith(testkit.Within(t), d.begin(3, "next"), joe, changed(3, "next"))
	require.NoError(t, err, "on another connection")
	d.check()
}

// TestRequestLost: a commit that never reaches the server is known not to hold when the server
// has learned that its client is gone.
func TestRequestLost(t *testing.T) {
	testkit.NoLeaks(t)
	d, proxy := apart(t, store.Limits{})
	tx := d.begin(2, "lost")
	proxy.Swallow()
	done := make(chan outcome, 1)
	go func() {
		tid, err := d.CommitWith(context.Background(), tx, joe, changed(2, "lost"))
		done <- outcome{tid, err}
	}()
	proxy.Cut()
	got := <-done
	proxy.Resume()
	proxy.CutHoles() // through one of which pgx asks that what it had sent be canceled
	assert.ErrorIs(t, got.err, tracbus.ErrNotCommitted)
	assert.NotErrorIs(t, got.err, tracbus.ErrCommitUnknown)
	d.check()
}

// TestNobodyKnows: while the server still has the session, it may yet come to the COMMIT. Who is
// told that asks again.
func TestNobodyKnows(t *testing.T) {
	testkit.NoLeaks(t)
	d, proxy := apart(t, store.Limits{Lock: 200 * time.Millisecond, Commit: 200 * time.Millisecond})
	tx := d.begin(2, "lost")
	proxy.Swallow()
	_, err := d.CommitWith(testkit.Within(t), tx, joe, changed(2, "lost"))
	var unknown *tracbus.CommitUnknownError
	require.ErrorAs(t, err, &unknown)
	proxy.Cut()
	testkit.Until(t, "the server has ended the session", func() bool {
		_, err = unknown.Transaction.Outcome(testkit.Within(t))
		return !errors.Is(err, tracbus.ErrCommitUnknown)
	})
	assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
	d.check()
}

// TestKilled has 32 writers, whose sessions are killed all the time. What a writer is told is so, and
// the journal has exactly what the outbox has.
func TestKilled(t *testing.T) {
	testkit.NoLeaks(t)
	d := newDesk(t, options{config: func(c *pgxpool.Config) {
		c.MaxConns, c.ConnConfig.RuntimeParams["application_name"] = 32, "writer"
	}})
	ctx, stop := context.WithCancel(t.Context())
	var killing sync.WaitGroup
	kills := 0
	killing.Go(func() {
		for ctx.Err() == nil {
			kills += number(t, d.own, "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE application_name = 'writer' AND query ILIKE 'COMMIT' OR query LIKE 'WITH t AS%%' ORDER BY random() LIMIT 2) p")
		}
	})
	var mu sync.Mutex
	told := map[string]error{}
	var writing sync.WaitGroup
	for w := range 32 {
		writing.Go(func() {
			for n := range 30 {
				comment := fmt.Sprintf("%d of %d", n, w)
				tx, err := d.pool.Begin(t.Context())
				if err != nil {
					continue
				}
				id := 1 + mathrand.Int64N(20)
				if err = write(t.Context(), tx, id, comment); err == nil {
					_, err = d.CommitWith(t.Context(), tx, joe, changed(id, comment))
					mu.Lock()
					told[comment] = err
					mu.Unlock()
				}
				_ = tx.Rollback(t.Context())
			}
		})
	}
	writing.Wait()
	stop()
	killing.Wait()
	var held, not, unknown int
	for comment, err := range told {
		there := number(t, d.own, "SELECT count(*) FROM outbox WHERE comment = '%s'", comment) == 1
		switch {
		case err == nil:
			held++
			assert.True(t, there, comment)
		case errors.Is(err, tracbus.ErrCommitUnknown):
			unknown++
		default:
			not++
			assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
			assert.False(t, there, "%s: %v", comment, err)
		}
	}
	t.Logf("%d commits hold, %d do not, %d are not known; %d kills", held, not, unknown, kills)
	assert.NotZero(t, held)
	assert.NotZero(t, not)
	testkit.Until(t, "all sessions have ended", func() bool {
		return number(t, d.own, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'writer' AND xact_start IS NOT NULL") == 0
	})
	d.check()
}
