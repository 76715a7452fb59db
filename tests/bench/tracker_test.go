// Package bench_test measures what the library costs: to write and read the journal
// on each database, and to call listeners and publish.
package bench_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// benchTicket is what a benchmark's tracker keeps of a ticket, in its own table.
type benchTicket struct {
	summary, reporter, owner, kind, status, priority, milestone, component string
	version, resolution, keywords, cc, description                         string
	time, changetime                                                       int64
}

var benchTables = []string{
	`CREATE TABLE ticket_like (id BIGINT NOT NULL PRIMARY KEY, summary TEXT, reporter TEXT, owner TEXT, type TEXT, status TEXT,
		priority TEXT, milestone TEXT, component TEXT, version TEXT, resolution TEXT, keywords TEXT, cc TEXT, description TEXT,
		time BIGINT, changetime BIGINT)`,
	`CREATE TABLE ticket_like_change (ticket BIGINT, time BIGINT, author VARCHAR(100), field VARCHAR(100), oldvalue TEXT, newvalue TEXT)`,
	`CREATE INDEX ticket_like_change_time ON ticket_like_change (ticket, time)`,
}

const benchTickets = 1000

// benchTracker is a tracker's database, with the journal's tables in it.
type benchTracker struct {
	db      *sql.DB
	journal *tracbus.Journal
	dialect tracbus.Dialect
}

func newBenchTracker(b *testing.B, s *testdatabase.Server, config tracbus.JournalConfig) *benchTracker {
	t := &benchTracker{db: s.New(b), dialect: tracbus.Dialect(s.Dialect)}
	t.db.SetMaxIdleConns(64) // it makes no connections anew while it is measured
	t.journal = openBenchJournal(b, t, tracbus.NewBus("test"), config)
	for _, text := range benchTables {
		t.mustExec(b, text)
	}
	tx, err := t.db.BeginTx(b.Context(), nil)
	require.NoError(b, err)
	for id := range benchTickets {
		_, err := tx.ExecContext(b.Context(), t.text("INSERT INTO ticket_like VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
			id+1, "The pages of the manual do not print", "jane", "joe", "defect", "assigned", "major", "milestone0", "manual", "1.0",
			"", "print css", "jane@example.org", strings.Repeat("It is empty. ", 8), 1577934245000006, 1577934245000006)
		require.NoError(b, err)
	}
	require.NoError(b, tx.Commit())
	return t
}

func openBenchJournal(b *testing.B, t *benchTracker, bus *tracbus.Bus, config tracbus.JournalConfig) *tracbus.Journal {
	config.Dialect, config.Realms = t.dialect, []tracbus.JournalRealm{tracbus.Tickets{}}
	j, err := tracbus.OpenJournal(b.Context(), t.db, bus, config)
	require.NoError(b, err)
	b.Cleanup(func() {
		require.NoError(b, j.Close(context.Background()))
		require.NoError(b, bus.Close(context.Background()))
	})
	return j
}

// text writes a statement with the marks that the driver knows.
func (t *benchTracker) text(statement string) string {
	if t.dialect != tracbus.PostgreSQL {
		return statement
	}
	parts := strings.Split(statement, "?")
	for i := range parts[1:] {
		parts[i] += "$" + strconv.Itoa(i+1)
	}
	return strings.Join(parts, "")
}

func (t *benchTracker) mustExec(b *testing.B, statement string, args ...any) {
	b.Helper()
	_, err := t.db.ExecContext(b.Context(), t.text(statement), args...)
	require.NoError(b, err, statement)
}

// benchEdit sets a ticket's milestone and comments on it, as a typical tracker
// does: it is a [tracbus.Model], and what those without a journal call.
type benchEdit struct {
	tracker            *benchTracker
	id                 int64
	milestone, comment string
}

// write writes the model's rows, in four statements.
func (m benchEdit) write(ctx context.Context, q tracbus.SQL, now int64) (before benchTicket, err error) {
	lock := " FOR UPDATE"
	if m.tracker.dialect == tracbus.SQLite {
		lock = ""
	}
	was := &before
	err = q.QueryRowContext(ctx, m.tracker.text(`SELECT summary, reporter, owner, type, status, priority, milestone, component, version,
		resolution, keywords, cc, description, time, changetime FROM ticket_like WHERE id = ?`+lock), m.id).Scan(
		&was.summary, &was.reporter, &was.owner, &was.kind, &was.status, &was.priority, &was.milestone, &was.component, &was.version,
		&was.resolution, &was.keywords, &was.cc, &was.description, &was.time, &was.changetime)
	if err != nil {
		return before, err
	}
	if _, err = q.ExecContext(ctx, m.tracker.text("UPDATE ticket_like SET milestone = ?, changetime = ? WHERE id = ?"), m.milestone, now, m.id); err != nil {
		return before, err
	}
	change := m.tracker.text("INSERT INTO ticket_like_change (ticket, time, author, field, oldvalue, newvalue) VALUES (?, ?, ?, ?, ?, ?)")
	if _, err = q.ExecContext(ctx, change, m.id, now, "joe", "milestone", before.milestone, m.milestone); err != nil {
		return before, err
	}
	_, err = q.ExecContext(ctx, change, m.id, now, "joe", "comment", "1", m.comment)
	return before, err
}

func (m benchEdit) Resource() tracbus.Resource {
	return tracbus.Resource{Realm: tracbus.RealmTicket, ID: strconv.FormatInt(m.id, 10)}
}

func (m benchEdit) Save(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	was, err := m.write(ctx, tx.SQL(), tx.Time().UnixMicro())
	if err != nil {
		return nil, err
	}
	return tracbus.TicketChanged{
		Change: tracbus.Change{Comment: m.comment},
		ID:     m.id,
		Values: tracbus.Fields{
			"summary": was.summary, "reporter": was.reporter, "owner": was.owner, "type": was.kind, "status": was.status,
			"priority": was.priority, "milestone": m.milestone, "component": was.component, "version": was.version,
			"resolution": was.resolution, "keywords": was.keywords, "cc": was.cc, "description": was.description,
			"time": time.UnixMicro(was.time).UTC(), "changetime": tx.Time(),
		},
		Old: tracbus.Fields{"milestone": was.milestone},
	}, nil
}

func (m benchEdit) Delete(context.Context, *tracbus.ModelTransaction) (tracbus.Event, error) {
	panic("no benchmark deletes")
}

// durableServer starts a server that writes as one in production does, or a
// MariaDB for which a flush to the disk takes 1 ms, no more and no less.
func durableServer(b *testing.B, name string) *testdatabase.Server {
	switch name {
	case "postgresql":
		return &testdatabase.Server{Dialect: name, Driver: "pgx", Postgres: testserver.Postgres(b, testserver.PostgresOptions{Durable: true})}
	case "mysql":
		return &testdatabase.Server{Dialect: name, Driver: "mysql", MariaDB: testserver.MariaDB(b, testserver.MariaDBOptions{Durable: true})}
	case "mysql-flush=1ms":
		options := testserver.MariaDBOptions{Durable: true, Env: []string{"LD_PRELOAD=" + slowFlush(b)}}
		return &testdatabase.Server{Dialect: "mysql", Driver: "mysql", MariaDB: testserver.MariaDB(b, options)}
	}
	return testdatabase.New(b, name)
}

// slowFlush compiles what makes each flush of a file take 1 ms.
func slowFlush(b *testing.B) string {
	cc, err := exec.LookPath("cc")
	if err != nil {
		b.Skip("flushes of 1 ms need a C compiler")
	}
	dir, err := os.MkdirTemp("", "slowflush") // not TempDir, which the server's account may not enter
	require.NoError(b, err)
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(b, os.Chmod(dir, 0o755))
	source, library := filepath.Join(dir, "flush.c"), filepath.Join(dir, "flush.so")
	require.NoError(b, os.WriteFile(source, []byte(`
		#include <unistd.h>
		int fsync(int fd) { return usleep(1000); }
		int fdatasync(int fd) { return usleep(1000); }
	`), 0o644))
	out, err := exec.CommandContext(b.Context(), cc, "-shared", "-fPIC", "-o", library, source).CombinedOutput()
	require.NoError(b, err, "%s", out)
	return library
}

// multiply makes more entries of those that a journal has, which are tids 1 to
// have, as if another process had committed them. Databases do it themselves.
func (t *benchTracker) multiply(b *testing.B, have, want int64) {
	for have < want {
		more := min(have, want-have, 50_000)
		t.mustExec(b, "INSERT INTO journal_transaction (tid, mark, origin, realms) SELECT tid + ?, mark, ?, realms FROM journal_transaction WHERE tid <= ?",
			have, rand.Text(), more)
		t.mustExec(b, `INSERT INTO ticket_journal SELECT tid + ?, seq, id, `+t.quoted("change")+`, time, author, ipnr, authenticated, comment, parts, state
			FROM ticket_journal WHERE tid <= ?`, have, more)
		t.mustExec(b, `INSERT INTO ticket_history SELECT tid + ?, seq, id, field, old_type, old_value, new_type, new_value
			FROM ticket_history WHERE tid <= ?`, have, more)
		have += more
	}
	switch t.dialect {
	case tracbus.PostgreSQL:
		t.mustExec(b, "SELECT setval('journal_tid', ?)", want)
		t.mustExec(b, "VACUUM ANALYZE journal_transaction, ticket_journal, ticket_history") // as its daemon does in time
	case tracbus.MySQL:
		t.mustExec(b, "UPDATE journal_head SET tid = ?", want)
	}
}

func (t *benchTracker) quoted(name string) string {
	if t.dialect == tracbus.MySQL {
		return "`" + name + "`"
	}
	return `"` + name + `"`
}

// first makes the journal's first entry, tid 1.
func (t *benchTracker) first(b *testing.B) {
	tid, err := t.update(b.Context(), benchEdit{t, 1, "milestone1", usual(1).Comment})
	require.NoError(b, err)
	require.Equal(b, int64(1), tid, "gaps would make multiply lie")
}

// update is an edit through the journal.
func (t *benchTracker) update(ctx context.Context, m benchEdit) (tid int64, err error) {
	who := tracbus.Actor{Author: "joe", IPNR: "192.0.2.1", Authenticated: true}
	return t.journal.Update(ctx, who, func(tx *tracbus.ModelTransaction) error { return tx.Save(ctx, m) })
}

// benchEntries is how many entries a large journal has: few, unless real figures
// are asked for.
func benchEntries(b *testing.B) int64 {
	text, ok := os.LookupEnv("TRACBUS_BENCH_ENTRIES")
	if !ok {
		return 20_000
	}
	n, err := strconv.ParseInt(text, 10, 64)
	require.NoError(b, err, "TRACBUS_BENCH_ENTRIES")
	return n
}

func reportMedian(b *testing.B, figures []float64, unit string) {
	b.ReportMetric(median(figures), unit)
}

func reportRatio(b *testing.B, of, to []float64, unit string) {
	ratios := make([]float64, len(of))
	for i := range of {
		ratios[i] = of[i] / to[i]
	}
	b.ReportMetric(median(ratios), unit)
}
