package bench_test

import (
	"context"
	"errors"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/pgxbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// delays measures how soon another process is told.
func delays(t *testing.T, dialect string) *contest.Contest {
	s := durableServer(t, dialect)
	client := redis.NewClient(&redis.Options{Addr: testserver.Redis(t, testserver.RedisOptions{}).Addr()})
	t.Cleanup(func() { _ = client.Close() })
	c := &contest.Contest{
		About: "A change is committed some 20 times a second: 0 to 100 ms after the one before was heard of, at random, so that commits do not " +
			"keep step with a poll. The figures are how long after its commit a listener is called that another journal of the same database " +
			"has, as another process would.",
		Units: []string{"p50 ms", "p99 ms"},
		Ways: []contest.Way{
			delayed(t, s, "woken through Redis", func(*tracker) tracbus.JournalConfig {
				return tracbus.JournalConfig{Waker: tracbus.NewRedisWaker(client)}
			}),
			delayed(t, s, "by the poll that is the default", func(*tracker) tracbus.JournalConfig { return tracbus.JournalConfig{} }),
		},
	}
	if dialect == "postgresql" {
		c.Ways = append(c.Ways, delayed(t, s, "woken by LISTEN and NOTIFY", func(k *tracker) tracbus.JournalConfig {
			return tracbus.JournalConfig{Waker: k.waker(t)}
		}), notified(t, s))
	}
	return c
}

// waker is a waker of PostgreSQL.
func (k *tracker) waker(t *testing.T) *pgxbus.Waker {
	config, err := pgx.ParseConfig(k.dsn)
	require.NoError(t, err)
	return pgxbus.WakerConfig{}.NewWakerDB(k.db, config)
}

// delayed is a journal that tells another one.
func delayed(t *testing.T, s *testdatabase.Server, name string, wakes func(*tracker) tracbus.JournalConfig) contest.Way {
	k := newTracker(t, s)
	pool(k.db, 10)
	config := wakes(k)
	there := tracbus.NewBus("bench")
	told := make(chan time.Time, 1)
	tracbus.On(there, tracbus.Everywhere, func(context.Context, tracbus.TicketChanged) error {
		told <- time.Now()
		return nil
	})
	run(t, k.open(t, there, config))
	here := k.open(t, tracbus.NewBus("bench"), config)
	run(t, here)
	commit := k.recording(here)
	return contest.Way{Name: name, Run: func(ctx context.Context, _ int, long time.Duration) ([]float64, error) {
		return percentiles(ctx, long, commit, func(ctx context.Context) (time.Time, error) {
			select {
			case at := <-told:
				return at, nil
			case <-ctx.Done():
				return time.Time{}, ctx.Err()
			}
		})
	}}
}

// pause is the longest between two commits: as long as the longest poll.
const pause = 100 * time.Millisecond

// percentiles commits again and again, and returns two percentiles of how long that
// takes to be heard. The pauses are of any length, or each commit would be as long before
// the next poll as the others.
func percentiles(ctx context.Context, long time.Duration, commit func(context.Context) error, heard func(context.Context) (time.Time, error)) ([]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, long+testkit.Patience)
	defer cancel()
	var all []float64
	for end := time.Now().Add(long); len(all) == 0 || time.Now().Before(end); {
		if err := idle(ctx, mathrand.N(pause)); err != nil {
			return nil, err
		}
		if err := commit(ctx); err != nil {
			return nil, err
		}
		committed := time.Now()
		at, err := heard(ctx)
		if err != nil {
			return nil, errors.Join(errors.New("nobody was told"), err)
		}
		all = append(all, max(0, at.Sub(committed).Seconds()*1000))
	}
	slices.Sort(all)
	return []float64{all[len(all)/2], all[len(all)*99/100]}, nil
}

// notified is the limit: PostgreSQL's own messages, by hand, with nothing read.
func notified(t *testing.T, s *testdatabase.Server) contest.Way {
	k := newTracker(t, s)
	conn, err := pgx.Connect(t.Context(), k.dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	_, err = conn.Exec(t.Context(), "LISTEN changes")
	require.NoError(t, err)
	return contest.Way{Name: "limit: LISTEN and NOTIFY by hand", Run: func(ctx context.Context, _ int, long time.Duration) ([]float64, error) {
		commit := func(ctx context.Context) error {
			err := k.edit(ctx, func(transaction, edit, string) error { return nil })
			if err == nil {
				_, err = k.db.ExecContext(ctx, "NOTIFY changes")
			}
			return err
		}
		return percentiles(ctx, long, commit, func(ctx context.Context) (time.Time, error) {
			_, err := conn.WaitForNotification(ctx)
			return time.Now(), err
		})
	}}
}
