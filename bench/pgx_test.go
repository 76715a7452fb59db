package bench_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/pgxbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// native is an application on pgx that commits its own transactions with a journal. If together is true,
// BEGIN and what reads the ticket go in one round trip, as pgx can have them.
func native(t *testing.T, s *testdatabase.Server, name string, together bool) contest.Way {
	k := newTracker(t, s)
	j := k.open(t, tracbus.NewBus("bench"), tracbus.JournalConfig{})
	pools := map[int]*pgxpool.Pool{}
	t.Cleanup(func() {
		for _, p := range pools {
			p.Close()
		}
	})
	begin := func(ctx context.Context, c *pgxpool.Conn, e edit) (tx pgx.Tx, before string, err error) {
		const read = "SELECT milestone FROM issue WHERE id = $1 FOR UPDATE"
		if !together {
			if tx, err = c.Begin(ctx); err == nil {
				err = tx.QueryRow(ctx, read, e.id).Scan(&before)
			}
			return tx, before, err
		}
		var b pgx.Batch
		b.BeginTx(pgx.TxOptions{})
		b.Queue(read, e.id).QueryRow(func(row pgx.Row) error { return row.Scan(&before) })
		found := c.SendBatch(ctx, &b)
		err = found.Close()
		return found.(interface{ Tx() pgx.Tx }).Tx(), before, err
	}
	job := func(ctx context.Context, p *pgxpool.Pool) error {
		return p.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
			e := anyEdit()
			tx, before, err := begin(ctx, c, e)
			if err != nil {
				return err
			}
			defer tx.Rollback(ctx)
			if _, err := tx.Exec(ctx, "UPDATE issue SET milestone = $1, changed = $2 WHERE id = $3", e.milestone, time.Now().UnixMicro(), e.id); err != nil {
				return err
			}
			_, err = pgxbus.CommitWith(ctx, j, tx, joe, e.event(before))
			return err
		})
	}
	return contest.Way{Name: name, Run: func(ctx context.Context, writers int, long time.Duration) ([]float64, error) {
		if pools[writers] == nil {
			config, err := pgxpool.ParseConfig(k.dsn)
			require.NoError(t, err)
			config.MaxConns = int32(writers)
			pools[writers], err = pgxpool.NewWithConfig(ctx, config)
			require.NoError(t, err)
		}
		return rate(ctx, writers, long, func(ctx context.Context) error { return job(ctx, pools[writers]) })
	}}
}
