package bench_test

import (
	"context"
	"time"

	"database/sql"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// limits are what a database can do at most with an outbox, whatever is given up for it.
func limits(t *testing.T, s *testdatabase.Server) []contest.Way {
	switch s.Dialect {
	case "postgresql":
		return []contest.Way{pgxBatch(t, s)}
	case "sqlite":
		return []contest.Way{prepared(t, s)}
	}
	return nil
}

// pgxBatch sends all statements in two round trips, with pgx alone.
func pgxBatch(t *testing.T, s *testdatabase.Server) contest.Way {
	k := newTracker(t, s)
	k.exec(t, "CREATE TABLE outbox (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload TEXT NOT NULL)")
	pools := map[int]*pgxpool.Pool{}
	t.Cleanup(func() {
		for _, p := range pools {
			p.Close()
		}
	})
	job := func(ctx context.Context, p *pgxpool.Pool) error {
		return p.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
			e, before := anyEdit(), ""
			var first, last pgx.Batch
			first.Queue("BEGIN")
			first.Queue("SELECT milestone FROM issue WHERE id = $1 FOR UPDATE", e.id).QueryRow(func(row pgx.Row) error { return row.Scan(&before) })
			if err := c.SendBatch(ctx, &first).Close(); err != nil {
				return err
			}
			last.Queue("UPDATE issue SET milestone = $1, changed = $2 WHERE id = $3", e.milestone, time.Now().UnixMicro(), e.id)
			last.Queue("INSERT INTO outbox (payload) VALUES ($1)", string(e.payload(before)))
			last.Queue("COMMIT")
			return c.SendBatch(ctx, &last).Close()
		})
	}
	return contest.Way{Name: "limit: an outbox by pgx in two round trips", Run: func(ctx context.Context, writers int, long time.Duration) ([]float64, error) {
		if pools[writers] == nil {
			config, err := pgxpool.ParseConfig(k.dsn)
			if err != nil {
				return nil, err
			}
			config.MaxConns = int32(writers)
			if pools[writers], err = pgxpool.NewWithConfig(ctx, config); err != nil {
				return nil, err
			}
		}
		return rate(ctx, writers, long, func(ctx context.Context) error { return job(ctx, pools[writers]) })
	}}
}

// prepared is one connection of SQLite's, for which all writers queue, and on which
// each statement is prepared.
func prepared(t *testing.T, s *testdatabase.Server) contest.Way {
	k := newTracker(t, s)
	k.exec(t, "CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, payload TEXT NOT NULL)")
	conn, err := k.db.Conn(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	var statements []*sql.Stmt
	for _, text := range []string{
		"BEGIN IMMEDIATE", "SELECT milestone FROM issue WHERE id = ?", "UPDATE issue SET milestone = ?, changed = ? WHERE id = ?",
		"INSERT INTO outbox (payload) VALUES (?)", "COMMIT",
	} {
		statement, err := conn.PrepareContext(t.Context(), text)
		require.NoError(t, err, text)
		t.Cleanup(func() { _ = statement.Close() })
		statements = append(statements, statement)
	}
	turn := make(chan struct{}, 1)
	return contest.Way{Name: "limit: an outbox over one connection, prepared", Run: func(ctx context.Context, writers int, long time.Duration) ([]float64, error) {
		return rate(ctx, writers, long, func(ctx context.Context) error {
			turn <- struct{}{}
			defer func() { <-turn }()
			e, before := anyEdit(), ""
			if _, err := statements[0].ExecContext(ctx); err != nil {
				return err
			}
			if err := statements[1].QueryRowContext(ctx, e.id).Scan(&before); err != nil {
				return err
			}
			if _, err := statements[2].ExecContext(ctx, e.milestone, time.Now().UnixMicro(), e.id); err != nil {
				return err
			}
			if _, err := statements[3].ExecContext(ctx, string(e.payload(before))); err != nil {
				return err
			}
			_, err := statements[4].ExecContext(ctx)
			return err
		})
	}}
}
