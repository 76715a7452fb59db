package fault_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
	"sync"
)

// plan is a fault at one statement of an operation. An operation's statements are
// those with a context that has its plan, or those that begins knows.
type plan struct {
	fault  fault
	at     int // counts from 1; 0 counts only
	begins func(query string) bool

	mu     sync.Mutex
	cancel func() // ends the operation's context
	given  bool   // up
	armed  bool
	texts  []string // of the statements so far
	again  bool     // the fault has struck
}

type planKey struct{}

// with returns a context of the plan's operation.
func (p *plan) with(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(context.WithValue(ctx, planKey{}, p))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel = cancel
	return ctx
}

// end ends the operation's context.
func (p *plan) end() {
	p.mu.Lock()
	cancel := p.cancel
	p.mu.Unlock()
	cancel()
}

// giveUp ends an operation that hangs.
func (p *plan) giveUp() {
	p.mu.Lock()
	p.given = true
	p.mu.Unlock()
	p.end()
}

func (p *plan) isGivenUp() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.given
}

// strikes counts a statement, and says whether the fault is at it.
func (p *plan) strikes(query string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.armed {
		return false
	}
	p.texts = append(p.texts, query)
	p.again = p.again || len(p.texts) == p.at
	return len(p.texts) == p.at
}

// arm begins to count.
func (p *plan) arm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = true
}

// statements returns the statements so far, and whether the fault has struck.
func (p *plan) statements() (texts []string, struck bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.texts, p.again
}

// fault is what can happen to a statement.
type fault struct {
	name   string
	on     string // the databases that can have it
	silent bool   // the server is out of reach until it is healed, so that an outcome may be unknown
	only   func(query string) bool
	strike func(p *plan, s statement) error
}

const (
	servers = "postgresql mysql"
	all     = servers + " sqlite"
)

// faults are those of the network, of the server's administrator, of the caller,
// and of a disk.
var faults = []fault{
	{name: "lost request", on: servers, strike: func(_ *plan, s statement) error {
		s.wire.reset()
		return s.send(s.ctx)
	}},
	{name: "lost answer", on: servers, strike: func(_ *plan, s statement) error {
		return s.then(func() { s.wire.reset() }, func() error { return s.hears(s.ctx) })
	}},
	{name: "request in a black hole", on: servers, silent: true, strike: func(_ *plan, s statement) error {
		s.swallow()
		return s.send(s.ctx)
	}},
	{name: "answer in a black hole", on: servers, silent: true, strike: func(_ *plan, s statement) error {
		return s.then(s.swallow, func() error { return s.hears(s.ctx) })
	}},
	{name: "rest of the batch dropped after one", on: "mysql", only: joins, strike: dropRest(func(int) int { return 1 })},
	{name: "rest of the batch dropped in the middle", on: "mysql", only: joins, strike: dropRest(func(of int) int { return (of + 1) / 2 })},
	{name: "rest of the batch dropped before the last", on: "mysql", only: joins, strike: dropRest(func(of int) int { return of - 1 })},
	{name: "session killed before", on: servers, strike: func(_ *plan, s statement) error {
		s.kill(true)
		return s.send(s.ctx)
	}},
	{name: "session killed meanwhile", on: servers, strike: func(_ *plan, s statement) error { return s.meanwhile(func() { s.kill(true) }) }},
	{name: "statement killed before", on: servers, strike: func(_ *plan, s statement) error {
		s.kill(false)
		return s.send(s.ctx)
	}},
	{name: "statement killed meanwhile", on: servers, strike: func(_ *plan, s statement) error { return s.meanwhile(func() { s.kill(false) }) }},
	{name: "cancelled before", on: all, strike: func(p *plan, s statement) error {
		p.end()
		return s.send(s.ctx)
	}},
	{name: "cancelled meanwhile", on: all, strike: func(p *plan, s statement) error { return s.meanwhile(p.end) }},
	{name: "cancelled after", on: all, strike: func(p *plan, s statement) error {
		defer p.end()
		return s.send(s.ctx)
	}},
	{name: "disk fails before", on: "sqlite", strike: func(*plan, statement) error { return errDisk }},
	{name: "disk fails after", on: "sqlite", strike: func(_ *plan, s statement) error {
		return s.then(func() {}, func() error { return errDisk })
	}},
	{name: "disk is full", on: "sqlite", strike: func(_ *plan, s statement) error { // which ends a transaction
		_, _ = s.Conn.(driver.ExecerContext).ExecContext(context.Background(), "ROLLBACK", nil)
		return errors.New("database or disk is full (13)")
	}},
	{name: "interrupted", on: "sqlite", strike: func(*plan, statement) error { return errors.New("interrupted (9)") }},
	{name: "busy", on: "sqlite", strike: func(*plan, statement) error { return errors.New("database is locked (5) (SQLITE_BUSY)") }},
}

// joins says whether a text is of many statements.
func joins(query string) bool { return len(batch(query)) > 1 }

var errDisk = errors.New("disk I/O error (10)")

// then has the database do a statement to the end. Its answer is lost: the caller
// gets what instead returns.
func (s statement) then(lose func(), instead func() error) error {
	if err := s.send(s.ctx); err != nil {
		return err
	}
	s.finish()
	lose()
	return instead()
}

// meanwhile does something once the request was sent, and waits until it is done:
// what it does to a later statement is another case.
func (s statement) meanwhile(do func()) error {
	var doing sync.WaitGroup
	begin := func() { doing.Go(do) }
	if s.wire == nil {
		begin()
	} else {
		s.wire.afterWrite(begin)
		defer s.wire.afterWrite(nil)
	}
	err := s.send(s.ctx)
	doing.Wait()
	return err
}

// dropRest is what MySQL and MariaDB do to a KILL QUERY between two statements of one
// round trip: they drop the rest, send no error, and have promised more results. The
// driver waits for these. keep says how many of the statements are done.
func dropRest(keep func(of int) int) func(*plan, statement) error {
	return func(_ *plan, s statement) error {
		parts := batch(s.query)
		first := strings.Join(parts[:keep(len(parts))], "; ")
		if err := s.replace(s.ctx, first, s.args[:strings.Count(first, "?")]); err != nil {
			return err
		}
		hang := func() error {
			s.wire.starve()
			return s.hears(s.ctx)
		}
		if s.promise != nil && strings.Contains(first, "SELECT LAST_INSERT_ID()") { // it has a result before
			s.promise(hang)
			return nil
		}
		s.finish()
		return hang()
	}
}

// promising are rows whose next result never comes.
type promising struct {
	driver.Rows
	hang func() error
}

// HasNextResultSet implements driver.RowsNextResultSet.
func (p *promising) HasNextResultSet() bool { return true }

// NextResultSet implements driver.RowsNextResultSet.
func (p *promising) NextResultSet() error { return p.hang() }
