package fault_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// bench is a database with two processes: one that meets with faults, and one that
// does not.
type bench struct {
	t         *testing.T
	server    *testdatabase.Server
	direct    *sql.DB
	connector *connector
	faulty    *desk.Desk
	other     *desk.Desk
	done      int // cases
}

// hangs is how long an operation may take before it is said to hang. It has bounds
// of some hundred milliseconds: a crowded machine may need more, but not this much.
const hangs = 40 * time.Second

// newBench opens both processes. before registers what the faulty one needs.
func newBench(t *testing.T, s *testdatabase.Server, idle bool, before func(*tracbus.Bus)) *bench {
	t.Helper()
	dsn := s.DSN(s.Name())
	b := &bench{t: t, server: s, direct: s.Open(t, dsn)}
	_, err := b.direct.ExecContext(testkit.Within(t), "CREATE TABLE seen (name varchar(200) PRIMARY KEY)")
	require.NoError(t, err)
	b.connector, err = newConnector(s, dsn, b.direct)
	require.NoError(t, err)
	db := sql.OpenDB(b.connector)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	t.Cleanup(b.connector.heal)
	journal := tracbus.JournalConfig{PollInterval: 50 * time.Millisecond}
	opening.Lock() // not all at once
	defer opening.Unlock()
	b.faulty = desk.Seat(t, s, "", desk.Config{DB: db, Idle: idle, Before: before, Journal: journal, Opening: limited})
	b.other = desk.Seat(t, s, "", desk.Config{DB: b.direct, Journal: journal})
	return b
}

var opening sync.Mutex

// report says what is wrong with a case.
func (b *bench) report(p *plan, format string, args ...any) {
	b.t.Helper()
	texts, _ := p.statements()
	at := ""
	if 0 < p.at && p.at <= len(texts) {
		at = fmt.Sprintf(": %.150s", texts[p.at-1])
	}
	b.t.Errorf("%s at statement %d%s\n%s", p.fault.name, p.at, at, fmt.Sprintf(format, args...))
}

// bounded runs f, which must return in time. If it does not, the faults are healed,
// so that it may return then.
func (b *bench) bounded(p *plan, what string, f func()) {
	b.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(hangs)
	defer timer.Stop()
	select {
	case <-done:
		return
	case <-timer.C:
		b.report(p, "%s has not returned after %v", what, hangs)
	}
	p.giveUp()
	b.connector.heal()
	select {
	case <-done:
	case <-time.After(hangs):
		b.t.Fatalf("%s has not even returned when it was cancelled, and all connections were broken", what)
	}
}

// look logs what MySQL does if the process without faults still writes after a while:
// something then has locked it out.
func (b *bench) look(p *plan) (stop func()) {
	if b.server.Dialect != "mysql" {
		return func() {}
	}
	done := make(chan struct{})
	timer := time.AfterFunc(hangs/4, func() {
		defer close(done)
		var kind, name, status string
		err := b.direct.QueryRowContext(testkit.Within(b.t), "SHOW ENGINE INNODB STATUS").Scan(&kind, &name, &status)
		b.t.Logf("%s at statement %d: the other process is kept from writing: %v\n%s", p.fault.name, p.at, err, status)
	})
	return func() {
		if !timer.Stop() {
			<-done
		}
	}
}

// settle waits until nothing is left of a case: no connection that is used, no session
// of a connection that was closed, no open transaction and no lock.
func (b *bench) settle(p *plan) {
	b.t.Helper()
	deadline := time.Now().Add(hangs)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		left := b.left()
		if left == "" {
			break
		}
		if time.Now().After(deadline) {
			b.report(p, "this is left: %s", left)
			break
		}
		time.Sleep(pause)
	}
	b.connector.mu.Lock()
	b.connector.ended = nil
	b.connector.mu.Unlock()
}

// left says what is left of a case.
func (b *bench) left() string {
	var left []string
	inUse := b.faulty.DB.Stats().InUse
	if b.server.Dialect == "sqlite" {
		inUse-- // Run keeps one
	}
	if inUse > 0 {
		left = append(left, fmt.Sprintf("%d connections are in use", inUse))
	}
	open, ended := b.connector.sessions()
	if pool := b.faulty.DB.Stats().OpenConnections; open > pool {
		left = append(left, fmt.Sprintf("%d connections are open, the pool has %d", open, pool))
	}
	ids := []string{"0"}
	for _, id := range ended {
		ids = append(ids, fmt.Sprint(id))
	}
	for what, query := range counts[b.server.Dialect] {
		var n int
		query = strings.ReplaceAll(query, "ENDED", strings.Join(ids, ", "))
		if err := b.direct.QueryRowContext(testkit.Within(b.t), query).Scan(&n); err != nil || n > 0 {
			left = append(left, fmt.Sprintf("%d %s (%v)", n, what, err))
		}
	}
	switch b.server.Dialect {
	case "sqlite":
		if err := b.write(); err != nil {
			left = append(left, "another cannot write: "+err.Error())
		}
	case "mysql":
		left = append(left, b.active()...)
	}
	return strings.Join(left, "; ")
}

// counts ask the server what it has.
var counts = map[string]map[string]string{
	"postgresql": {
		"advisory locks":               "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database() AND l.locktype = 'advisory'",
		"open transactions":            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL",
		"sessions of whom nobody uses": "SELECT count(*) FROM pg_stat_activity WHERE pid IN (ENDED)",
	},
	"mysql": {
		"sessions of whom nobody uses": "SELECT count(*) FROM information_schema.processlist WHERE id IN (ENDED)",
	},
}

// active names the open transactions of MySQL. Its table innodb_trx stands still while
// somebody looks at it often.
func (b *bench) active() (found []string) {
	var kind, name, status string
	if err := b.direct.QueryRowContext(testkit.Within(b.t), "SHOW ENGINE INNODB STATUS").Scan(&kind, &name, &status); err != nil {
		return []string{err.Error()}
	}
	for _, transaction := range strings.Split(status, "---TRANSACTION ")[1:] {
		head, rest, _ := strings.Cut(transaction, "\n")
		var session int64
		if _, after, ok := strings.Cut(rest, "thread id "); ok {
			_, _ = fmt.Sscan(after, &session) // else it is none of ours
		}
		if strings.Contains(head, "ACTIVE") && b.connector.has(session) {
			found = append(found, fmt.Sprintf("session %d: transaction %s", session, head))
		}
	}
	return found
}

// write begins a transaction that writes, on SQLite, and does not wait for others.
func (b *bench) write() error {
	ctx := testkit.Within(b.t)
	c, err := b.direct.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, text := range []string{"PRAGMA busy_timeout = 0", "BEGIN IMMEDIATE", "ROLLBACK", "PRAGMA busy_timeout = 10000"} {
		if _, failed := c.ExecContext(ctx, text); failed != nil {
			err = errors.Join(err, failed)
		}
	}
	return err
}

// stored says what the tables have of a case: the application's, and the journal's.
func (b *bench) stored(comment string) (seen, journaled int) {
	ctx := testkit.Within(b.t)
	dialect := tracbus.Dialect(b.server.Dialect)
	for query, n := range map[string]*int{
		"SELECT count(*) FROM seen WHERE name = ?":              &seen,
		"SELECT count(*) FROM ticket_journal WHERE comment = ?": &journaled,
	} {
		require.NoError(b.t, b.direct.QueryRowContext(ctx, desk.Marks(dialect, query), comment).Scan(n))
	}
	return seen, journaled
}

// told checks, when all cases are done, that both processes were told what the tables
// have, each change once and in its order, and that the faulty one was told as primary
// what it committed.
func (b *bench) told() {
	b.t.Helper()
	last := b.faulty.Say(b.t, "last", 1)
	var comments, own []string
	rows, err := b.direct.QueryContext(testkit.Within(b.t), "SELECT comment, tid, seq FROM ticket_journal UNION ALL SELECT comment, tid, seq FROM wiki_journal ORDER BY tid, seq")
	require.NoError(b.t, err)
	defer rows.Close()
	for rows.Next() {
		var comment string
		var tid, seq int64
		require.NoError(b.t, rows.Scan(&comment, &tid, &seq))
		comments = append(comments, comment)
		if comment != "" && !strings.HasPrefix(comment, "other ") { // pages are made by the other, without a comment
			own = append(own, comment)
		}
	}
	require.NoError(b.t, rows.Err())
	for name, d := range map[string]*desk.Desk{"the faulty process": b.faulty, "the other process": b.other} {
		require.NoError(b.t, d.Wait(testkit.Within(b.t), last))
		all, primary := d.Heard()
		assert.Equal(b.t, comments, desk.Comments(all), "what %s was told, and what the tables have", name)
		if d == b.faulty {
			assert.Equal(b.t, own, desk.Comments(primary), "what it was told as primary")
		} else {
			assert.Equal(b.t, len(comments)-len(own), len(primary), "what the other was told as primary")
		}
	}
	desk.CheckJournal(b.t, b.direct, b.server.Dialect, "ticket")
}

// within is a context for what the application does itself, who bounds it herself.
func within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 700*time.Millisecond)
}

// limits are the library's own bounds, made short. The application's are longer.
var limits = store.Limits{
	Answer: 700 * time.Millisecond, Lock: time.Second, Commit: time.Second, Writer: 2 * time.Second, Rollback: 300 * time.Millisecond,
}

func limited(ctx context.Context) context.Context { return store.WithLimits(ctx, limits) }
