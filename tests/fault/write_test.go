package fault_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
)

// operation is one way to make a change.
type operation struct {
	name  string
	never bool // it takes its change back
	run   func(ctx context.Context, d *desk.Desk, c change) error
}

// writes are the ways.
var writes = []operation{
	{name: "Update", run: update},
	{name: "Update that fails", never: true, run: func(ctx context.Context, d *desk.Desk, c change) error {
		_, err := d.Update(ctx, desk.Joe, func(tx *tracbus.ModelTransaction) error { return errors.Join(c.make(ctx, tx), errMind) })
		return err
	}},
	{name: "Begin to Commit", run: commit},
	{name: "Join to Flush", run: join},
}

var errMind = errors.New("changed its mind")

// change is what each operation does: a row of the application, and a ticket saved
// through a model.
type change struct {
	comment string
	at      func(point string) // called at each place where code of the application runs
}

// points are where code of the application runs.
var points = []string{"at the beginning", "after a statement", "in the model", "after Save"}

func (c change) make(ctx context.Context, tx *tracbus.ModelTransaction) error {
	ctx, cancel := within(ctx)
	defer cancel()
	c.at("at the beginning")
	if _, err := tx.SQL().ExecContext(ctx, desk.Marks(tx.Dialect(), "INSERT INTO seen VALUES (?)"), c.comment); err != nil {
		return err
	}
	var n int
	if err := tx.SQL().QueryRowContext(ctx, "SELECT count(*) FROM seen").Scan(&n); err != nil {
		return err
	}
	c.at("after a statement")
	if err := tx.Save(ctx, c); err != nil {
		return err
	}
	c.at("after Save")
	return nil
}

// Resource implements tracbus.Model.
func (c change) Resource() tracbus.Resource {
	return tracbus.Resource{Realm: tracbus.RealmTicket, ID: "1"}
}

// Save implements tracbus.Model.
func (c change) Save(context.Context, *tracbus.ModelTransaction) (tracbus.Event, error) {
	c.at("in the model")
	return desk.Remark(1, c.comment), nil
}

// Delete implements tracbus.Model.
func (c change) Delete(context.Context, *tracbus.ModelTransaction) (tracbus.Event, error) {
	return nil, errors.New("it is not deleted")
}

func update(ctx context.Context, d *desk.Desk, c change) error {
	_, err := d.Update(ctx, desk.Joe, func(tx *tracbus.ModelTransaction) error { return c.make(ctx, tx) })
	return err
}

func commit(ctx context.Context, d *desk.Desk, c change) error {
	tx, err := d.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := tx.Prepare(desk.Joe, ""); err != nil {
		return err
	}
	if err := c.make(ctx, tx); err != nil {
		return err
	}
	if _, err := tx.Commit(ctx); err != nil {
		return err
	}
	tx.Notify()
	return nil
}

// begins begin a transaction of the application.
var begins = map[tracbus.Dialect]string{tracbus.SQLite: "BEGIN IMMEDIATE", tracbus.PostgreSQL: "BEGIN", tracbus.MySQL: "BEGIN"}

// join is a careful application: it bounds its own statements, breaks a connection of
// which it knows nothing, and asks what became of its commit.
func join(ctx context.Context, d *desk.Desk, c change) error {
	own, cancel := within(ctx)
	defer cancel()
	conn, err := d.DB.Conn(own)
	if err != nil {
		return err
	}
	defer conn.Close()
	ended := false
	defer func() {
		if !ended {
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}()
	tx, err := d.Join(conn)
	if err != nil {
		return err
	}
	if _, err := conn.ExecContext(own, begins[tracbus.Dialect(dialectOf(d))]); err != nil {
		return err
	}
	if err := tx.Prepare(desk.Joe, ""); err != nil {
		return err
	}
	if err := c.make(ctx, tx); err != nil {
		return err
	}
	flushing, cancel := within(ctx)
	defer cancel()
	if _, err := tx.Flush(flushing); err != nil {
		return err
	}
	_, err = conn.ExecContext(flushing, "COMMIT")
	if err == nil {
		ended = true
		tx.Notify()
		return nil
	}
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
	asking, cancel := within(context.WithoutCancel(ctx))
	defer cancel()
	_, err = tx.Outcome(asking)
	return err
}

// dialectOf says in which database a process is.
func dialectOf(d *desk.Desk) string {
	switch fmt.Sprintf("%T", d.DB.Driver()) {
	case "*stdlib.Driver":
		return "postgresql"
	case "*mysql.MySQLDriver":
		return "mysql"
	}
	return "sqlite"
}

// result is how an operation ended.
type result struct {
	err   error
	threw string // it ended by a panic or by Goexit
	took  time.Duration
}

// do does an operation, of which the outcome must be what the tables say.
func (b *bench) do(o operation, p *plan, at func(point string)) {
	b.t.Helper()
	b.done++
	c := change{comment: fmt.Sprintf("%d: %s, %s at statement %d", b.done, o.name, p.fault.name, p.at), at: at}
	ctx := p.with(context.Background())
	defer p.end()
	p.arm()
	var r result
	began := time.Now()
	b.bounded(p, o.name, func() {
		ended := make(chan struct{})
		go func() { // Goexit ends a goroutine
			defer close(ended)
			r.threw = "Goexit"
			defer func() {
				if thrown := recover(); thrown != nil {
					r.threw = fmt.Sprint(thrown)
				}
			}()
			r.err = o.run(ctx, b.faulty, c)
			r.threw = ""
		}()
		<-ended
	})
	r.took = time.Since(began)
	b.connector.heal()
	b.settle(p)
	b.judge(o, p, r, c.comment)
}

// judge compares what an operation returned with what the tables have.
func (b *bench) judge(o operation, p *plan, r result, comment string) {
	b.t.Helper()
	seen, journaled := b.stored(comment)
	committed := seen == 1
	var unknown *tracbus.CommitUnknownError
	switch {
	case seen != journaled || seen > 1:
		b.report(p, "the application's table has it %d times, the journal %d times; %s returned %v", seen, journaled, o.name, r.err)
	case r.threw != "" && r.threw != "a panic" && r.threw != "Goexit":
		b.report(p, "%s ended by a panic that is the library's or the driver's: %s", o.name, r.threw)
	case r.threw != "":
		if committed {
			b.report(p, "it is stored, although %s ended by %s", o.name, r.threw)
		}
	case r.err == nil:
		if !committed || o.never {
			b.report(p, "%s returned nil, and the tables have it %d times", o.name, seen)
		}
	case errors.As(r.err, &unknown):
		if !p.fault.silent && r.took < limits.Commit { // else the machine is too slow for these bounds
			b.report(p, "its outcome is not known, although the server can be asked: %v", r.err)
		}
		_, err := unknown.Transaction.Outcome(testkit.Within(b.t))
		if committed != (err == nil) || err != nil && !errors.Is(err, tracbus.ErrNotCommitted) {
			b.report(p, "the outcome is %v when the server can be asked, and the tables have it %d times", err, seen)
		}
	case committed:
		b.report(p, "the tables have it, and %s returned %v", o.name, r.err)
	case strings.HasPrefix(o.name, "Update") && !errors.Is(r.err, tracbus.ErrNotCommitted):
		b.report(p, "%s returned neither that it is committed, nor that it is not, nor that this is unknown: %v", o.name, r.err)
	}
}

// counted returns the statements of an operation that meets with no fault.
func (b *bench) counted(o operation) []string {
	b.t.Helper()
	for range 20 { // a crowded machine may exceed the application's own bounds
		p := &plan{fault: fault{name: "no fault"}}
		b.do(o, p, func(string) {})
		texts, _ := p.statements()
		if seen, _ := b.stored(fmt.Sprintf("%d: %s, no fault at statement 0", b.done, o.name)); (seen == 1) != o.never {
			return texts
		}
	}
	require.FailNow(b.t, "it never succeeds", o.name)
	return nil
}

// everyStatement has an operation meet with each fault at each of its statements, and
// be left by a panic or Goexit where code of the application runs.
func (b *bench) everyStatement(o operation) {
	texts := b.counted(o)
	for _, f := range faults {
		for at, text := range texts {
			if f.fits(b.server.Dialect, text) {
				b.do(o, &plan{fault: f, at: at + 1}, func(string) {})
			}
		}
	}
	for _, point := range points {
		for _, leave := range []string{"panic", "Goexit"} {
			b.do(o, &plan{fault: fault{name: leave + " " + point}}, func(at string) {
				if at == point {
					leaveBy(leave)
				}
			})
		}
	}
	b.t.Logf("%s: %d statements, %d cases", o.name, len(texts), b.done)
	b.told()
}

// leaveBy ends a call in a way in which none should end.
func leaveBy(way string) {
	switch way {
	case "panic":
		panic("a panic")
	case "Goexit":
		runtime.Goexit()
	}
}
