package pgxbus_test

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/pgxbus"
)

var _ tracbus.Waker = (*pgxbus.Waker)(nil)

// hear has a loop over what a waker hears, which begins to hear now.
func hear(t *testing.T, w *pgxbus.Waker, channel string) *testkit.Steps[string] {
	t.Helper()
	s := testkit.Loop(t, func(ctx context.Context) iter.Seq2[string, error] { return w.Hear(ctx, channel) })
	assert.Equal(t, testkit.Step[string]{}, s.Next())
	return s
}

// listening counts the connections that listen, or have.
const listening = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^(UN)?LISTEN' AND datname = 'tracker'"

// TestOneConnection: however many hear, one connection listens, which is none of the pool's; and
// none when nobody hears any more.
func TestOneConnection(t *testing.T) {
	testkit.NoLeaks(t)
	_, dsn := server(t)
	pool := connect(t, dsn, 1)
	w := pgxbus.NewWaker(pool)
	wake, inbox, wakeToo := hear(t, w, "tracbus:\"x\":wake"), hear(t, w, "inbox"), hear(t, w, "tracbus:\"x\":wake")
	assert.Equal(t, 1, number(t, pool, listening))
	for n := range 3 {
		text := fmt.Sprint("text ", n)
		require.NoError(t, w.Call(testkit.Within(t), "tracbus:\"x\":wake", text))
		for _, s := range []*testkit.Steps[string]{wake, wakeToo} {
			assert.Equal(t, testkit.Step[string]{Value: text}, s.Next())
		}
	}
	require.NoError(t, w.Call(testkit.Within(t), "inbox", "waits"))
	assert.Equal(t, "waits", inbox.Next().Value, "and nothing of the other channel before")
	wake.Stop()
	inbox.Stop()
	require.NoError(t, w.Call(testkit.Within(t), "tracbus:\"x\":wake", "still"))
	assert.Equal(t, "still", wakeToo.Next().Value)
	wakeToo.Stop()
	testkit.Until(t, "nobody listens", func() bool { return number(t, pool, listening) == 0 })
	hear(t, w, "again")
}

// TestHearsMany: of many who call at once, every text is heard, and the last one after what
// was said before it.
func TestHearsMany(t *testing.T) {
	testkit.NoLeaks(t)
	_, dsn := server(t)
	pool := connect(t, dsn, 4)
	w := pgxbus.NewWaker(pool)
	s := hear(t, w, "many")
	const callers, calls = 4, 50
	done := make(chan error, callers)
	for c := range callers {
		go func() {
			for n := range calls {
				if err := w.Call(context.Background(), "many", fmt.Sprintf("%d.%d", c, n)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	seen := map[string]bool{}
	for len(seen) < callers*calls {
		step := s.Next()
		require.NoError(t, step.Err)
		require.False(t, seen[step.Value], "%s twice", step.Value)
		seen[step.Value] = true
	}
	for range callers {
		require.NoError(t, <-done)
	}
}

// TestCut: who hears is told that the connection is gone, once, and hears again when asked to.
func TestCut(t *testing.T) {
	testkit.NoLeaks(t)
	_, dsn := server(t)
	pool := connect(t, dsn, 2)
	w := pgxbus.NewWaker(pool)
	one, two := hear(t, w, "one"), hear(t, w, "two")
	require.Equal(t, 1, number(t, pool, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query ~ '^(UN)?LISTEN'"))
	for _, s := range []*testkit.Steps[string]{one, two} {
		assert.ErrorContains(t, s.Next().Err, "terminating connection")
	}
	one, two = hear(t, w, "one"), hear(t, w, "two")
	require.NoError(t, w.Call(testkit.Within(t), "two", "again"))
	assert.Equal(t, "again", two.Next().Value)
	testkit.Until(t, "one connection is left", func() bool { return number(t, pool, listening) == 1 })
	one.Stop()
}

// TestDiesInSilence: a connection from which nothing comes any more is an error, and so is one
// that cannot be made.
func TestDiesInSilence(t *testing.T) {
	testkit.NoLeaks(t)
	s, dsn := server(t)
	proxy := testserver.Proxy(t, s.Addr())
	db := stdlib.OpenDBFromPool(connect(t, dsn, 2))
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	config, err := pgx.ParseConfig(s.DSNVia(proxy.Addr(), "tracker"))
	require.NoError(t, err)
	w := pgxbus.WakerConfig{PingAfter: time.Second}.NewWakerDB(db, config)
	heard := hear(t, w, "channel")
	proxy.Swallow()
	assert.ErrorIs(t, heard.Next().Err, context.DeadlineExceeded)
	mute := testkit.Loop(t, func(ctx context.Context) iter.Seq2[string, error] { return w.Hear(ctx, "channel") })
	assert.ErrorContains(t, mute.Next().Err, "connect to listen")
	proxy.Resume()
	proxy.CutHoles()
	hear(t, pgxbus.WakerConfig{}.NewWakerDB(db, config), "channel")
}

// TestUnheard: what listens where nothing comes is found out, and not taken for silence.
func TestUnheard(t *testing.T) {
	testkit.NoLeaks(t)
	s, dsn := server(t)
	s.CreateDatabase("another")
	db := stdlib.OpenDBFromPool(connect(t, dsn, 2))
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	config, err := pgx.ParseConfig(s.DSN("another"))
	require.NoError(t, err)
	w := pgxbus.WakerConfig{PingAfter: time.Second}.NewWakerDB(db, config)
	heard := testkit.Loop(t, func(ctx context.Context) iter.Seq2[string, error] { return w.Hear(ctx, "channel") })
	assert.ErrorIs(t, heard.Next().Err, pgxbus.ErrUnheard)
}

// TestConnectsAsThePool: a password that the pool gets before each connection is that of the one
// that listens, too.
func TestConnectsAsThePool(t *testing.T) {
	testkit.NoLeaks(t)
	_, dsn := server(t)
	config, err := pgxpool.ParseConfig(dsn)
	require.NoError(t, err)
	var users []string
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		c.RuntimeParams["application_name"] = "of the hook"
		users = append(users, c.User)
		return nil
	}
	config.MaxConns, config.MinIdleConns, config.MinConns = 1, 0, 0
	pool, err := pgxpool.NewWithConfig(testkit.Within(t), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, pool.Ping(testkit.Within(t))) // else it connects meanwhile
	hear(t, pgxbus.NewWaker(pool), "channel")
	assert.Len(t, users, 2)
	assert.Equal(t, 2, number(t, pool, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'of the hook'"))
}
