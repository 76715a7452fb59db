package tracbustest

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tracbus/tracbus"
)

// DatabaseConfig says how hard [Database] tries. The zero value is what a test of an
// application can afford, some seconds.
type DatabaseConfig struct {
	// Processes is how many journals follow the database, each with a pool of its own, as
	// the processes of a tracker do. Zero means 3.
	Processes int

	// Writers is how many goroutines of each process write at once. Zero means 4, but 2 on
	// SQLite.
	Writers int

	// Transactions is how many each writer begins. Zero means 40.
	Transactions int

	// Timeout bounds the whole check. Zero means 2 minutes.
	Timeout time.Duration

	// Logger gets what the journals log, such as a connection that was killed. Zero means
	// that nobody does.
	Logger *slog.Logger
}

// Database checks the guarantees of a journal on the caller's own database: its server, its
// settings, its driver. For example:
//
//	tracbustest.Database(t, tracbus.PostgreSQL, func() (*sql.DB, error) { return sql.Open("pgx", dsn) })
//
// It takes a function that opens a pool, and no data source name, because this package
// imports no driver, and because each of the processes that it plays needs a pool of its
// own. It closes the pools. Settings of the pool, such as SetMaxOpenConns, are part of what
// is checked.
//
// On PostgreSQL it makes a schema, and on MySQL and MariaDB a database, whose name begins
// with "tracbustest_", works in that alone, and drops it. The user needs the right to make
// one. On SQLite it takes a file that has no tables, and leaves none.
//
// Processes write concurrently. Some of their transactions are rolled back, held open, joined,
// or have savepoints, and on PostgreSQL, MySQL and MariaDB some of their connections are killed. Then it
// compares what was committed with what each process received, and with what the journal
// has: see the promises in docs/testing.md.
func Database(t T, dialect tracbus.Dialect, open func() (*sql.DB, error)) {
	t.Helper()
	DatabaseConfig{}.Database(t, dialect, open)
}

// Database is the function [Database] with settings of its own.
func (c DatabaseConfig) Database(t T, dialect tracbus.Dialect, open func() (*sql.DB, error)) {
	t.Helper()
	writers := 4
	if dialect == tracbus.SQLite {
		writers = 2
	}
	c.Processes, c.Writers, c.Transactions = cmp.Or(c.Processes, 3), cmp.Or(c.Writers, writers), cmp.Or(c.Transactions, 40)
	c.Timeout = cmp.Or(c.Timeout, 2*time.Minute)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Processes < 0 || c.Writers < 0 || c.Transactions < 0 || c.Timeout < 0 {
		panic("tracbustest: DatabaseConfig needs numbers from zero")
	}
	r := report{t, fmt.Sprintf("database %s", dialect)}
	ctx, cancel := context.WithTimeout(t.Context(), c.Timeout)
	defer cancel()
	p, err := newPlace(ctx, dialect, open)
	if err != nil {
		r.broken(promisePlace, "%v", err)
		return
	}
	defer func() {
		if err := p.drop(context.WithoutCancel(ctx)); err != nil {
			r.broken(promiseLeftNothing, "%v", err)
		}
	}()
	c.check(ctx, r, p)
}

var (
	promisePlace       = promise{"a place of its own", "The database is reached, and the user may make a schema (PostgreSQL) or database (MySQL, MariaDB) in it; an SQLite file has no tables yet.", "The check touches no table that it has not made itself."}
	promiseLeftNothing = promise{"nothing is left", "What the check made is dropped, and all connections go back to their pools.", "A connection that does not come back is lost to the application, until the pool has none."}
	promiseOpens       = promise{"every process opens the journal", "OpenJournal makes the tables that are missing, also if several processes do so at once, and refuses a database that cannot give the guarantees.", "Without it, nothing is delivered. An error that wraps ErrUnsupportedDatabase says what is set up in another way than it has to be."}
	promiseCommits     = promise{"a change is committed", "A transaction that changes one row is committed, if need be when it is tried again.", "Requests of users would fail."}
	promiseAnswers     = promise{"the answer is true", "If Update or Commit returns nil, the commit holds. An error that wraps ErrNotCommitted says that it does not, and never will. Anything else wraps ErrCommitUnknown.", "The application tells the user that the change is saved, or asks for it again."}
	promiseOnce        = promise{"exactly what is committed, once", "Each process receives every committed change exactly once, and nothing of a transaction that was rolled back.", "A cache goes stale or an e-mail is sent twice, or about what never happened."}
	promiseSavepoints  = promise{"savepoints", "What a transaction changes after a savepoint is told if the savepoint is released, and is not if the transaction is rolled back to it.", "Frameworks that nest transactions use savepoints: listeners would hear of what never was, or not of what is."}
	promiseOrder       = promise{"one order", "All processes receive the changes in the order of the tids, which is the same for all, and the changes of one resource in the order of their commits.", "Who applies changes in another order ends with another state."}
	promisePrimary     = promise{"primary in one process", "A change is primary in the process that committed it, and secondary in all others.", "Listeners with the scope Primary send an e-mail for each change, one of all processes does."}
	promiseReadBack    = promise{"the journal has the same", "Since yields what was delivered, in the same order, and History what was delivered of a resource.", "Who was away reads on from the journal."}
	promiseSnapshot    = promise{"a snapshot and what comes after it", "A LoadListener receives exactly the changes that the snapshot did not show, also if it is registered while others write.", "A cache that is built from tables would miss a change, or count one twice."}
	promiseDurable     = promise{"a durable consumer", "A durable consumer receives every change at least once, in order, one process at a time, whichever processes end.", "It is for side effects that must not be lost."}
	promiseTextsKept   = promise{"texts are kept", "The database returns the texts that it was given: all of Unicode, long ones, and names that differ in case, accents or spaces at the end only.", "A character set or collation that changes texts changes what users wrote, or takes one resource for another."}
	promiseBent        = promise{"settings that bend what is stored are refused", "A commit whose session was set to cut texts, or to another character set, is refused with ErrNotCommitted and ErrUnsupportedDatabase.", "What is stored would not be what was said, and nobody would be told."}
)

// check runs all parts, and ends what it began.
func (c DatabaseConfig) check(ctx context.Context, r report, p *place) {
	r.t.Helper()
	group, err := c.openAll(ctx, p)
	defer func() {
		if err := group.close(context.WithoutCancel(ctx)); err != nil {
			r.broken(promiseLeftNothing, "%v", err)
		}
	}()
	if err != nil {
		r.broken(promiseOpens, "%v", err)
		return
	}
	s := c.newStorm(p, group)
	began := time.Now()
	s.blow(ctx)
	took := time.Since(began)
	if err := s.settle(ctx); err != nil {
		r.broken(promiseOnce, "after all writers had ended: %v", err)
		return
	}
	v, err := s.verdict(ctx)
	r.t.Logf("%s: %d transactions in %v, seed %d: %s", r.what, len(s.attempts), took.Round(time.Millisecond), s.seed, v.counts)
	v.tell(r)
	if err != nil {
		r.broken(promiseReadBack, "not all could be compared: %v", err)
		return
	}
	c.checkTexts(ctx, r, group)
	c.checkBent(ctx, r, p, group)
	if err := s.consumer.handOver(ctx, s); err != nil {
		r.broken(promiseDurable, "%v", err)
	}
}

// openAll opens the journal of each process at once, as when all are started together.
func (c DatabaseConfig) openAll(ctx context.Context, p *place) (group, error) {
	g := make(group, c.Processes)
	errs := make(chan error)
	for i := range g {
		go func() {
			var err error
			g[i], err = c.openProcess(ctx, p, fmt.Sprintf("process %d", i+1))
			errs <- err
		}()
	}
	var all []error
	for range g {
		all = append(all, <-errs)
	}
	if err := errors.Join(all...); err != nil {
		return g, err
	}
	return g, g.together(ctx)
}
