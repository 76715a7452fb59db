package turns

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// pin is a connection that one turn after the other uses, with statements that stay
// prepared. It belongs to who has the turn.
type pin struct {
	conn *sql.Conn
	kept map[string]*sql.Stmt // nil: it has come once

	commits  int
	version  int64 // of the data, by the commits of others
	wal      bool  // known from the third COMMIT on
	asked    bool  // for the version schema, what follows
	schema   int64 // of the tables
	deferred bool  // constraints are
	captured bool  // package capture has triggers
	marked   bool  // the transaction says that it is the library's own
}

// What stays prepared is bounded.
const (
	keptMost   = 64
	keptLength = 4000 // of an application's statement
)

// statement returns a statement that stays prepared from the second time on; nil
// if it does not.
func (p *pin) statement(ctx context.Context, text string) *sql.Stmt {
	known, seen := p.kept[text]
	switch {
	case known != nil:
		return known
	case seen:
		if s, err := p.conn.PrepareContext(ctx, text); err == nil { // else it says what is wrong when it is run
			known = s
		}
	case p.kept == nil:
		p.kept = map[string]*sql.Stmt{}
	case len(p.kept) >= keptMost: // those that come often come again
		p.forget()
	}
	p.kept[text] = known
	return known
}

// forget closes what is prepared. A driver may not stand that after the connection was closed,
// with which it is gone.
func (p *pin) forget() {
	open := p.conn.Raw(func(any) error { return nil }) == nil
	for _, s := range p.kept {
		if s != nil && open {
			_ = s.Close()
		}
	}
	clear(p.kept)
}

// exec runs one that stays prepared.
func (p *pin) exec(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if s := p.statement(ctx, text); s != nil {
		return s.ExecContext(ctx, args...)
	}
	return p.conn.ExecContext(ctx, text, args...)
}

// query is exec for rows, which are closed before the same comes again.
func (p *pin) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if s := p.statement(ctx, text); s != nil {
		return s.QueryContext(ctx, args...)
	}
	return p.conn.QueryContext(ctx, text, args...)
}

// deferring asks whether a foreign key may be looked at in COMMIT alone.
const deferring = `SELECT (SELECT foreign_keys FROM pragma_foreign_keys) AND EXISTS (SELECT 1 FROM sqlite_master WHERE sql LIKE '%INITIALLY%DEFERRED%')`

// defers says whether COMMIT may fail because of a foreign key: then nobody would know whose
// work it was. A pragma can do that too, see plainWord.
func (p *pin) defers(ctx context.Context) bool {
	return p.look(ctx) != nil || p.deferred
}

// look finds what the tables are like, if they are not as before.
func (p *pin) look(ctx context.Context) error {
	var version int64
	if err := limit.QueryRow(ctx, Kept{p}, "PRAGMA schema_version").Scan(&version); err != nil {
		return err
	}
	if p.asked && version == p.schema {
		return nil
	}
	err := limit.QueryRow(ctx, p.conn, deferring).Scan(&p.deferred)
	if err == nil {
		err = limit.QueryRow(ctx, p.conn, capturing).Scan(&p.captured)
	}
	p.schema, p.asked = version, err == nil
	return err
}

// capturing asks whether what is written is captured, unless it is marked as the library's own.
const capturing = `SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'journal_capture')`

// mark marks what the transaction that has begun writes as the library's own.
func (p *pin) mark(ctx context.Context) error {
	p.marked = false
	if err := p.look(ctx); err != nil || !p.captured {
		return err
	}
	_, err := p.exec(ctx, "UPDATE main.journal_capture SET own = 1")
	p.marked = err == nil
	return err
}

// unmark ends that, before COMMIT.
func (p *pin) unmark(ctx context.Context) (err error) {
	if p.marked {
		_, err = p.exec(ctx, "UPDATE main.journal_capture SET own = 0")
		p.marked = false
	}
	return err
}

// waitsForNobody says that COMMIT does not: with a WAL, nobody who reads is in its way, and
// nobody can do without the WAL while this connection is open.
func (p *pin) waitsForNobody(ctx context.Context) bool {
	if p.commits++; p.commits == 3 {
		var mode string
		p.wal = limit.QueryRow(ctx, p.conn, "PRAGMA journal_mode").Scan(&mode) == nil && mode == "wal"
		_, _ = p.changed(ctx) // if it ended the transaction, COMMIT says so
	}
	return p.wal
}

// changed says whether another connection has committed since it was asked last.
func (p *pin) changed(ctx context.Context) (bool, error) {
	was := p.version
	err := limit.QueryRow(context.WithoutCancel(ctx), p.conn, "PRAGMA data_version").Scan(&p.version)
	return was != 0 && was != p.version, err
}

// rolledBack says that the transaction has ended.
func (p *pin) rolledBack(ctx context.Context) bool {
	_, err := p.exec(ctx, "ROLLBACK")
	return err == nil || sqltext.IsNoTransaction(err)
}

// giveBack closes what is prepared, and gives the connection back to the pool.
func (p *pin) giveBack() {
	p.forget()
	_ = p.conn.Close()
}

// spoil closes the connection itself, and with it whatever it was doing.
func (p *pin) spoil() {
	p.forget()
	_ = p.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = p.conn.Close()
}

// isGone says whether an error means that the connection is none any more.
func isGone(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
}
