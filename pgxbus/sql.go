package pgxbus

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tracbus/tracbus"
)

// SQL returns a transaction of pgx as package sql has them, for [tracbus.Journal.Join] and others
// that ask for a [tracbus.SQL]. Rows have to be closed before the next statement. Values come as those of pgx's package
// stdlib do: numbers, booleans, times, bytes and JSON as such, and everything else as text. To commit it
// with a journal, call [CommitWith], and not the journal's own, whose commit function may not be called.
func SQL(tx pgx.Tx) tracbus.SQL { return native{tx} }

// native runs statements of package sql on a transaction of pgx.
type native struct{ tx pgx.Tx }

// ExecContext runs a statement.
func (n native) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tag, err := n.tx.Exec(ctx, query, args...)
	return driver.RowsAffected(tag.RowsAffected()), err
}

// QueryContext runs a query. Its pool is only what package sql needs to make rows: these go on
// without it.
func (n native) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	pool := sql.OpenDB(connector(n))
	defer pool.Close()
	return pool.QueryContext(ctx, query, args...)
}

// QueryRowContext runs a query for one row.
func (n native) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	pool := sql.OpenDB(connector(n))
	defer pool.Close()
	return pool.QueryRowContext(ctx, query, args...)
}

// PrepareContext returns a statement that is prepared when it is first run, if the connection
// prepares statements.
func (n native) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	pool := sql.OpenDB(connector(n))
	defer pool.Close()
	c, err := pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return c.PrepareContext(ctx, query)
}

// connector connects to the transaction, as often as package sql wants.
type connector native

func (c connector) Connect(context.Context) (driver.Conn, error) { return conn(c), nil }
func (c connector) Driver() driver.Driver                        { return nil }

// conn is the transaction as a driver's connection. Values go through it as they are.
type conn native

// QueryContext implements [driver.QueryerContext].
func (c conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	values := make([]any, 1, 1+len(args))
	values[0] = formats
	for _, a := range args {
		values = append(values, a.Value)
	}
	found, err := c.tx.Query(ctx, query, values...)
	if err != nil {
		return nil, err
	}
	more := found.Next() // an error of the statement comes with the first row
	if err := found.Err(); err != nil {
		found.Close()
		return nil, err
	}
	return &rows{Rows: found, types: c.tx.Conn().TypeMap(), first: true, more: more}, nil
}

// PrepareContext implements [driver.ConnPrepareContext].
func (c conn) PrepareContext(_ context.Context, query string) (driver.Stmt, error) {
	return stmt{c, query}, nil
}

// CheckNamedValue implements [driver.NamedValueChecker].
func (c conn) CheckNamedValue(*driver.NamedValue) error { return nil }

// Prepare, Begin and Close implement [driver.Conn]; nobody calls the first two.
func (c conn) Prepare(query string) (driver.Stmt, error) { return stmt{c, query}, nil }
func (c conn) Begin() (driver.Tx, error)                 { return nil, driver.ErrSkip }
func (c conn) Close() error                              { return nil }

// stmt is a statement that pgx prepares by itself.
type stmt struct {
	conn  conn
	query string
}

// QueryContext implements [driver.StmtQueryContext].
func (s stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.QueryContext(ctx, s.query, args)
}

// ExecContext implements [driver.StmtExecContext].
func (s stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	values := make([]any, len(args))
	for i, a := range args {
		values[i] = a.Value
	}
	return native(s.conn).ExecContext(ctx, s.query, values...)
}

// Close, NumInput, Exec and Query implement [driver.Stmt]; nobody calls the last two.
func (s stmt) Close() error                               { return nil }
func (s stmt) NumInput() int                              { return -1 }
func (s stmt) Exec([]driver.Value) (driver.Result, error) { return nil, driver.ErrSkip }
func (s stmt) Query([]driver.Value) (driver.Rows, error)  { return nil, driver.ErrSkip }

// formats asks for those types in binary that package sql has too.
var formats = pgx.QueryResultFormatsByOID{
	pgtype.BoolOID: pgx.BinaryFormatCode, pgtype.ByteaOID: pgx.BinaryFormatCode,
	pgtype.Int2OID: pgx.BinaryFormatCode, pgtype.Int4OID: pgx.BinaryFormatCode, pgtype.Int8OID: pgx.BinaryFormatCode, pgtype.OIDOID: pgx.BinaryFormatCode,
	pgtype.Float4OID: pgx.BinaryFormatCode, pgtype.Float8OID: pgx.BinaryFormatCode,
	pgtype.DateOID: pgx.BinaryFormatCode, pgtype.TimestampOID: pgx.BinaryFormatCode, pgtype.TimestamptzOID: pgx.BinaryFormatCode,
}
