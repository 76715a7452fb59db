package pgxbus_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// connect opens a pool that ends with the test.
func connect(t *testing.T, dsn string, most int) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	require.NoError(t, err)
	config.MaxConns = int32(most)
	pool, err := pgxpool.NewWithConfig(testkit.Within(t), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// number asks for one.
func number(t *testing.T, pool *pgxpool.Pool, format string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(testkit.Within(t), fmt.Sprintf(format, args...)).Scan(&n))
	return n
}

// server is a server with an empty database.
func server(t *testing.T) (s *testserver.PostgresServer, dsn string) {
	t.Helper()
	s = testserver.Postgres(t, testserver.PostgresOptions{})
	s.CreateDatabase("tracker")
	return s, s.DSN("tracker")
}
