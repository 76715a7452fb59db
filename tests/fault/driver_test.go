package fault_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/tracbus/tracbus/tests/testdatabase"
)

// connector is a real driver, of which it counts the statements, and in which one of
// them meets with a fault. It changes nothing else: what a driver sends in one round
// trip stays one.
type connector struct {
	dialect string
	heard   bool // the server hears when the driver closes a black hole, as it does by its keepalive
	real    driver.Connector
	admin   *sql.DB // asks the server, and kills; not through this driver

	mu    sync.Mutex
	plan  *plan          // of statements that say by their text that they begin it
	conns map[*conn]bool // that are open
	ended []int64        // the sessions of those that were closed
	known map[int64]bool // the sessions of all
	holes []*wire        // black holes, until heal
}

// wireKey is for the wire that is made while a connection is.
type wireKey struct{}

func newConnector(s *testdatabase.Server, dsn string, admin *sql.DB) (*connector, error) {
	c := &connector{dialect: s.Dialect, admin: admin, conns: map[*conn]bool{}, known: map[int64]bool{}}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		made, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		w := &wire{TCPConn: made.(*net.TCPConn)}
		if into, ok := ctx.Value(wireKey{}).(**wire); ok {
			*into = w
		}
		return w, nil
	}
	switch s.Dialect {
	case "postgresql":
		config, err := pgx.ParseConfig(dsn)
		if err != nil {
			return nil, err
		}
		config.DialFunc = dial
		c.real = stdlib.GetConnector(*config)
	case "mysql":
		config, err := mysql.ParseDSN(dsn)
		if err != nil {
			return nil, err
		}
		config.DialFunc = dial
		if c.real, err = mysql.NewConnector(config); err != nil {
			return nil, err
		}
	default:
		c.real = opener{admin.Driver(), dsn}
	}
	return c, nil
}

// opener is the connector of a driver that has none.
type opener struct {
	driver driver.Driver
	dsn    string
}

func (o opener) Connect(context.Context) (driver.Conn, error) { return o.driver.Open(o.dsn) }
func (o opener) Driver() driver.Driver                        { return o.driver }

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver { return c.real.Driver() }

// sessionOf asks how the server names a connection.
var sessionOf = map[string]string{"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}

// Connect implements driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	made := &conn{of: c}
	real, err := c.real.Connect(context.WithValue(ctx, wireKey{}, &made.wire))
	if err != nil {
		return nil, err
	}
	made.Conn = real
	if ask := sessionOf[c.dialect]; ask != "" {
		if made.session, err = askNumber(ctx, real, ask); err != nil {
			_ = real.Close()
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns[made] = true
	c.known[made.session] = true
	return made, nil
}

// askNumber asks a question to which the answer is one number.
func askNumber(ctx context.Context, c driver.Conn, question string) (n int64, err error) {
	rows, err := c.(driver.QueryerContext).QueryContext(ctx, question, nil)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	values := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(values); err != nil {
		return 0, err
	}
	text := values[0]
	if b, ok := text.([]byte); ok {
		text = string(b)
	}
	_, err = fmt.Sscan(fmt.Sprint(text), &n)
	return n, err
}

// intend has a plan for an operation whose context is not the caller's. nil has none.
func (c *connector) intend(p *plan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.plan = p
}

// heal ends all black holes, as the server's keepalive does.
func (c *connector) heal() {
	c.mu.Lock()
	holes := c.holes
	c.holes = nil
	c.mu.Unlock()
	for _, w := range holes {
		w.fill()
	}
}

// sessions returns how many connections are open, and the sessions of those that
// were closed since it was asked last.
func (c *connector) sessions() (open int, ended []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns), c.ended
}

// has says whether a session is, or was, one of these connections.
func (c *connector) has(session int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[session]
}

// conn is one connection of the real driver.
type conn struct {
	driver.Conn
	of      *connector
	wire    *wire // nil on SQLite
	session int64 // as the server names it

	marked *plan // the operation that has used it since it came from the pool
}

// statement is one call of the driver that goes to the database.
type statement struct {
	*conn
	ctx    context.Context
	query  string
	args   []driver.NamedValue
	send   func(context.Context) error // has the driver do it
	finish func()                      // reads its answer to the end, and drops it

	replace func(ctx context.Context, query string, args []driver.NamedValue) error // is send, for another text
	promise func(hang func() error)                                                 // makes the answer one with another result, which does not come; nil if it has none
}

// run does a statement, or what its fault makes of it.
func (c *conn) run(s statement) error {
	s.conn = c
	p := c.planOf(s.ctx, s.query)
	if p == nil || !p.strikes(s.query) {
		return s.send(s.ctx)
	}
	return p.fault.strike(p, s)
}

// planOf returns the plan of the operation that a statement is of. A connection
// that an operation has used is its own until the pool gets it back: so its
// ROLLBACK counts, whose context is another.
func (c *conn) planOf(ctx context.Context, query string) *plan {
	p, ok := ctx.Value(planKey{}).(*plan)
	if !ok {
		c.of.mu.Lock()
		p = c.of.plan
		c.of.mu.Unlock()
		if p == nil || p.begins == nil || !p.begins(query) {
			p = nil
		}
	} else if p.begins != nil && !p.begins(query) {
		p = nil
	}
	if p == nil {
		return c.marked
	}
	c.marked = p
	return p
}

// ExecContext implements driver.ExecerContext.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (result driver.Result, err error) {
	s := statement{ctx: ctx, query: query, args: args, finish: func() {}}
	s.replace = func(ctx context.Context, query string, args []driver.NamedValue) (err error) {
		result, err = c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
		return err
	}
	s.send = func(ctx context.Context) error { return s.replace(ctx, query, args) }
	err = c.run(s)
	return result, err
}

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (rows driver.Rows, err error) {
	s := statement{ctx: ctx, query: query, args: args}
	s.replace = func(ctx context.Context, query string, args []driver.NamedValue) (err error) {
		rows, err = c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
		return err
	}
	s.send = func(ctx context.Context) error { return s.replace(ctx, query, args) }
	s.finish = func() { exhaust(rows) }
	s.promise = func(hang func() error) { rows = &promising{rows, hang} }
	if err = c.run(s); err != nil {
		return nil, err
	}
	return rows, nil
}

// exhaust reads all that a query answers.
func exhaust(rows driver.Rows) {
	for {
		values := make([]driver.Value, len(rows.Columns()))
		for rows.Next(values) == nil {
		}
		more, ok := rows.(driver.RowsNextResultSet)
		if !ok || !more.HasNextResultSet() || more.NextResultSet() != nil {
			break
		}
	}
	_ = rows.Close()
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *conn) PrepareContext(ctx context.Context, query string) (stmt driver.Stmt, err error) {
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
}

// BeginTx implements driver.ConnBeginTx.
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

// Ping implements driver.Pinger.
func (c *conn) Ping(ctx context.Context) error { return c.Conn.(driver.Pinger).Ping(ctx) }

// CheckNamedValue implements driver.NamedValueChecker.
func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if checks, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checks.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// ResetSession implements driver.SessionResetter.
func (c *conn) ResetSession(ctx context.Context) error {
	c.marked = nil
	return c.Conn.(driver.SessionResetter).ResetSession(ctx)
}

// IsValid implements driver.Validator.
func (c *conn) IsValid() bool {
	v, ok := c.Conn.(driver.Validator)
	return !ok || v.IsValid()
}

// Close implements driver.Conn.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if delete(c.of.conns, c); c.session != 0 {
		c.of.ended = append(c.of.ended, c.session)
	}
	return err
}

// swallow makes a black hole of the connection.
func (c *conn) swallow() {
	c.wire.swallow()
	if c.of.heard {
		c.wire.starve()
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.of.holes = append(c.of.holes, c.wire)
}

// hears returns what the real driver says to whoever waits for an answer on this
// connection now.
func (c *conn) hears(ctx context.Context) error {
	_, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, "SELECT 1", nil)
	if err == nil {
		return errors.New("it is answered")
	}
	return err
}

// kill has the server end the connection's session, or only its statement.
func (c *conn) kill(session bool) {
	text := map[[2]any]string{
		{"postgresql", true}: "SELECT pg_terminate_backend(%d)", {"postgresql", false}: "SELECT pg_cancel_backend(%d)",
		{"mysql", true}: "KILL CONNECTION %d", {"mysql", false}: "KILL QUERY %d",
	}[[2]any{c.of.dialect, session}]
	_, _ = c.of.admin.ExecContext(context.Background(), fmt.Sprintf(text, c.session)) // it fails if it is gone
}

// batch says of how many statements a text is.
func batch(query string) []string { return strings.Split(query, "; ") }
