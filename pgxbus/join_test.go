package pgxbus_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/pgxbus"
)

// record joins a transaction, records a change in it, and flushes if that is to be.
func (d *desk) record(tx pgx.Tx, id int64, comment string, flush bool) *tracbus.ModelTransaction {
	d.t.Helper()
	joined, err := d.Join(tx)
	require.NoError(d.t, err)
	require.NoError(d.t, joined.Prepare(joe, ""))
	require.NoError(d.t, joined.Record(testkit.Within(d.t), changed(id, comment)))
	if flush {
		_, err = joined.Flush(testkit.Within(d.t))
		require.NoError(d.t, err)
	}
	return joined
}

// TestNested: of pgx's transactions within a transaction, what is released is told, and what is
// rolled back is not, also if they are within each other, and joined by themselves.
func TestNested(t *testing.T) {
	testkit.NoLeaks(t)
	d := newDesk(t, options{})
	ctx := testkit.Within(t)
	outer := d.begin(1, "outer")
	joined := d.record(outer, 1, "outer", false)
	inner := func(within pgx.Tx, id int64, comment string) pgx.Tx {
		tx, err := within.Begin(ctx)
		require.NoError(t, err)
		require.NoError(t, write(ctx, tx, id, comment))
		return tx
	}
	released := inner(outer, 2, "released")
	require.NoError(t, joined.Record(ctx, changed(2, "released")))
	back := inner(released, 3, "rolled back within")
	require.NoError(t, joined.Record(ctx, changed(3, "rolled back within")))
	require.NoError(t, back.Rollback(ctx))
	require.NoError(t, released.Commit(ctx))
	gone := inner(outer, 4, "rolled back")
	require.NoError(t, joined.Record(ctx, changed(4, "rolled back")))
	require.NoError(t, inner(gone, 5, "released within what is rolled back").Commit(ctx))
	require.NoError(t, joined.Record(ctx, changed(5, "released within what is rolled back")))
	require.NoError(t, gone.Rollback(ctx))
	alone := inner(outer, 6, "joined alone")
	second := d.record(alone, 6, "joined alone", true)
	require.NoError(t, alone.Commit(ctx))
	_, err := joined.Flush(ctx)
	require.NoError(t, err)
	require.NoError(t, outer.Commit(ctx))
	joined.Notify()
	second.Notify()
	assert.Equal(t, 3, number(t, d.own, "SELECT count(*) FROM journal_change WHERE comment IN ('outer', 'released', 'joined alone')"))
	d.check()
}

// TestCommitWithAfterJoin: what a Join of the transaction has flushed before is committed too.
func TestCommitWithAfterJoin(t *testing.T) {
	testkit.NoLeaks(t)
	d := newDesk(t, options{})
	tx := d.begin(1, "first")
	require.NoError(t, write(testkit.Within(t), tx, 2, "second"))
	d.record(tx, 1, "first", true)
	_, err := d.CommitWith(testkit.Within(t), tx, joe, changed(2, "second"))
	require.NoError(t, err)
	d.check()
}

// TestSQL: a transaction of pgx gives package sql what pgx's own driver does.
func TestSQL(t *testing.T) {
	testkit.NoLeaks(t)
	_, dsn := server(t)
	pool := connect(t, dsn, 2)
	db := stdlib.OpenDBFromPool(pool)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	ctx := testkit.Within(t)
	tx, err := pool.Begin(ctx)
	require.NoError(t, err)
	defer tx.Rollback(context.Background())
	q := pgxbus.SQL(tx)
	const query = `SELECT 1::smallint, 2::integer, 3::bigint, 1.5::real, 2.5::double precision, 12.50::numeric, true, 'text'::text, 'c'::char(3), '\x00ff'::bytea,
		'2020-01-02'::date, '2020-01-02 03:04:05.000006'::timestamp, '2020-01-02 03:04:05.000006+00'::timestamptz, NULL::text, NULL::integer, ARRAY[1, 2], '{"a": 1}'::jsonb,
		'00000000-0000-0000-0000-000000000001'::uuid, '1 day'::interval, '192.0.2.1'::inet, 7::oid, 'name'::name, ''::text WHERE $1::integer = 1 AND $2::text = 'x'`
	read := func(rows *sql.Rows, err error) (all []any) {
		require.NoError(t, err)
		defer rows.Close()
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			require.NoError(t, rows.Scan(into...))
			all = append(all, values...)
		}
		require.NoError(t, rows.Err())
		return all
	}
	want := read(db.QueryContext(ctx, query, 1, "x"))
	require.Len(t, want, 23)
	assert.Equal(t, want, read(q.QueryContext(ctx, query, 1, "x")))
	assert.Empty(t, read(q.QueryContext(ctx, query, 2, "x")))

	prepared, err := q.PrepareContext(ctx, query)
	require.NoError(t, err)
	assert.Equal(t, want, read(prepared.QueryContext(ctx, 1, "x")))
	require.NoError(t, prepared.Close())

	_, err = q.ExecContext(ctx, "CREATE TABLE t (a int, b text)")
	require.NoError(t, err)
	result, err := q.ExecContext(ctx, "INSERT INTO t VALUES ($1, $2), (2, $3)", 1, "x", nil)
	require.NoError(t, err)
	n, err := result.RowsAffected()
	require.NoError(t, err)
	assert.Equal(t, int64(2), n)
	var a int
	var b sql.NullString
	require.NoError(t, q.QueryRowContext(ctx, "SELECT a, b FROM t WHERE a = $1", 2).Scan(&a, &b))
	assert.Equal(t, 2, a)
	assert.False(t, b.Valid)
	assert.ErrorIs(t, q.QueryRowContext(ctx, "SELECT a FROM t WHERE a = 3").Scan(&a), sql.ErrNoRows)
	_, err = q.QueryContext(ctx, "SELECT 1/0")
	assert.ErrorContains(t, err, "division by zero")
	require.NoError(t, tx.Rollback(ctx))
	_, err = q.ExecContext(ctx, "SELECT 1")
	assert.ErrorIs(t, err, pgx.ErrTxClosed)
}
