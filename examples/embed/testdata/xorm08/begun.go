package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"

	"modernc.org/sqlite"
)

// register registers the driver under the name that xorm 0.8 knows. With a driver that has the name
// already, put one into the engine: engine.DB().DB = sql.OpenDB(connector).
func register() { sql.Register("sqlite3", lender{&sqlite.Driver{}}) }

// lender is a driver that tells a begun on which connection its transaction is.
type lender struct{ driver.Driver }

func (l lender) Open(name string) (driver.Conn, error) {
	c, err := l.Driver.Open(name)
	if err != nil {
		return nil, err
	}
	w, ok := c.(whole)
	if !ok {
		_ = c.Close() // the error says more
		return nil, fmt.Errorf("connections of %T lack a method", l.Driver)
	}
	return conn{w}, nil
}

// whole is what connections of modernc.org/sqlite can do. Those of other drivers can do more, and
// whoever wraps them must name that here: driver.SessionResetter, Validator, NamedValueChecker.
type whole interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
}

type conn struct{ whole }

func (c conn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	tx, err := c.whole.BeginTx(ctx, options)
	if b, asked := ctx.Value(key{}).(*begun); asked && err == nil {
		b.conn = c.whole
	}
	return tx, err
}

type key struct{}

// begun is a transaction that a session has begun with its context.
type begun struct{ conn whole }

// in returns the context that the session needs.
func (b *begun) in(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, b) }

// sql returns the transaction for the journal. It is valid until release, or the session's end.
func (b *begun) sql(ctx context.Context) (tx *sql.Conn, release func(), err error) {
	pool := sql.OpenDB(b)
	tx, err = pool.Conn(ctx)
	if err != nil {
		_ = pool.Close() // the error says more
		return nil, nil, err
	}
	return tx, func() { _, _ = tx.Close(), pool.Close() }, nil // neither closes the session's connection
}

// Connect implements driver.Connector.
func (b *begun) Connect(context.Context) (driver.Conn, error) {
	if b.conn == nil {
		return nil, fmt.Errorf("the session has begun no transaction with this context")
	}
	return lent{b.conn}, nil
}

// Driver implements driver.Connector.
func (b *begun) Driver() driver.Driver { return lender{} }

// lent is the session's connection, which stays open.
type lent struct{ whole }

func (lent) Close() error { return nil }
