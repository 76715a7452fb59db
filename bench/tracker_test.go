package bench_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

const tickets = 1000

// joe makes all changes.
var joe = tracbus.Actor{Author: "joe", IPNR: "192.0.2.1", Authenticated: true}

// durableServer starts a server that writes as one in production does.
func durableServer(t *testing.T, dialect string) *testdatabase.Server {
	switch dialect {
	case "postgresql":
		return &testdatabase.Server{Dialect: dialect, Driver: "pgx", Postgres: testserver.Postgres(t, testserver.PostgresOptions{Durable: true, Args: []string{"-c", "max_connections=1000"}})}
	case "mysql":
		return &testdatabase.Server{Dialect: dialect, Driver: "mysql", MariaDB: testserver.MariaDB(t, testserver.MariaDBOptions{Durable: true})}
	}
	return testdatabase.New(t, dialect)
}

// tracker is an application's database with tickets of its own.
type tracker struct {
	db      *sql.DB
	dsn     string
	dialect tracbus.Dialect
}

// newTracker makes one.
func newTracker(t *testing.T, s *testdatabase.Server) *tracker {
	dsn := s.DSN(s.Name())
	k := &tracker{db: s.Open(t, dsn), dsn: dsn, dialect: tracbus.Dialect(s.Dialect)}
	k.exec(t, `CREATE TABLE issue (id BIGINT NOT NULL PRIMARY KEY, status VARCHAR(100) NOT NULL, milestone VARCHAR(100) NOT NULL, changed BIGINT NOT NULL)`)
	k.rows(t, "INSERT INTO issue VALUES ", "(%d, 'new', 'milestone0', 0)")
	return k
}

// rows inserts a row for each ticket, in one statement.
func (k *tracker) rows(t *testing.T, insert, row string) {
	t.Helper()
	var rows []string
	for id := range tickets {
		rows = append(rows, fmt.Sprintf(row, id+1))
	}
	k.exec(t, insert+strings.Join(rows, ", "))
}

func (k *tracker) exec(t *testing.T, statement string) {
	t.Helper()
	_, err := k.db.ExecContext(t.Context(), statement)
	require.NoError(t, err, statement)
}

// open opens a journal in it.
func (k *tracker) open(t *testing.T, bus *tracbus.Bus, config tracbus.JournalConfig) *tracbus.Journal {
	config.Dialect, config.Logger = k.dialect, testkit.Quiet
	j, err := tracbus.OpenJournal(t.Context(), k.db, bus, config)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, j.Close(context.Background()))
		require.NoError(t, bus.Close(context.Background()))
	})
	return j
}

// run follows a journal until the test ends.
func run(t *testing.T, j *tracbus.Journal) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
}

// bind writes a statement with the marks that the driver knows.
func (k *tracker) bind(statement string) string {
	if k.dialect != tracbus.PostgreSQL {
		return statement
	}
	parts := strings.Split(statement, "?")
	for i := range parts[1:] {
		parts[i] += "$" + strconv.Itoa(i+1)
	}
	return strings.Join(parts, "")
}

// edit is one change of a ticket.
type edit struct {
	id        int64
	milestone string
}

func anyEdit() edit {
	return edit{1 + mathrand.Int64N(tickets), fmt.Sprintf("milestone%d", mathrand.IntN(1000))}
}

const comment = "It will be done in the milestone after this one. It will be done in the milestone after this one."

// write reads the ticket and writes it, as its owner.
func (k *tracker) write(ctx context.Context, q tracbus.SQL, e edit) (before string, err error) {
	lock := " FOR UPDATE"
	if k.dialect == tracbus.SQLite {
		lock = ""
	}
	if err := q.QueryRowContext(ctx, k.bind("SELECT milestone FROM issue WHERE id = ?"+lock), e.id).Scan(&before); err != nil {
		return "", err
	}
	_, err = q.ExecContext(ctx, k.bind("UPDATE issue SET milestone = ?, changed = ? WHERE id = ?"), e.milestone, time.Now().UnixMicro(), e.id)
	return before, err
}

// event is what the journal is told of an edit.
func (e edit) event(before string) tracbus.TicketChanged {
	return tracbus.TicketChanged{
		Change: tracbus.Change{Comment: comment}, ID: e.id,
		Values: tracbus.Fields{"summary": "The pages of the manual do not print", "status": "new", "owner": "joe", "milestone": e.milestone},
		Old:    tracbus.Fields{"milestone": before},
	}
}

// recording returns what commits an edit, and tells the journal.
func (k *tracker) recording(j *tracbus.Journal) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		_, err := j.Update(ctx, joe, func(tx *tracbus.ModelTransaction) error {
			e := anyEdit()
			before, err := k.write(ctx, tx.SQL(), e)
			if err != nil {
				return err
			}
			return tx.Record(ctx, e.event(before))
		})
		return err
	}
}

// payload is the message of an edit, for those who write it themselves.
func (e edit) payload(before string) []byte {
	b, err := json.Marshal(map[string]any{
		"id": e.id, "author": joe.Author, "comment": comment, "time": time.Now().UnixMicro(),
		"values": map[string]any{"summary": "The pages of the manual do not print", "status": "new", "owner": "joe", "milestone": e.milestone},
		"old":    map[string]any{"milestone": before},
	})
	if err != nil {
		panic(err) // nothing in it cannot be written
	}
	return b
}

// begin begins a transaction that may write at once.
func (k *tracker) begin(ctx context.Context) (transaction, error) {
	if k.dialect != tracbus.SQLite {
		return k.db.BeginTx(ctx, nil)
	}
	conn, err := k.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &immediate{SQL: conn, conn: conn, ctx: ctx}, nil
}

// transaction is that of package sql, or SQLite's that takes its place as a writer at
// once.
type transaction interface {
	tracbus.SQL
	Commit() error
	Rollback() error
}

type immediate struct {
	tracbus.SQL
	conn *sql.Conn
	ctx  context.Context
	over bool
}

func (tx *immediate) Commit() error {
	_, err := tx.SQL.ExecContext(tx.ctx, "COMMIT")
	if err == nil {
		tx.over, err = true, tx.conn.Close()
	}
	return err
}

func (tx *immediate) Rollback() error {
	if tx.over {
		return nil
	}
	_, _ = tx.SQL.ExecContext(tx.ctx, "ROLLBACK")
	return tx.conn.Close()
}

// pool has a pool keep a connection for each writer. SetMaxOpenConns alone would lower
// the number of those that it keeps for good.
func pool(db *sql.DB, writers int) {
	db.SetMaxOpenConns(writers)
	db.SetMaxIdleConns(writers)
}

// rate returns how many jobs a second so many workers do.
func rate(ctx context.Context, workers int, long time.Duration, job func(ctx context.Context) error) ([]float64, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var done atomic.Int64
	var working sync.WaitGroup
	began := time.Now()
	end := began.Add(long)
	for range workers {
		working.Go(func() {
			for first := true; first || time.Now().Before(end); first = false {
				if err := job(ctx); err != nil {
					if !strings.Contains(err.Error(), "database is locked") { // SQLite starved it
						stop(err)
						return
					}
					continue
				}
				done.Add(1)
			}
		})
	}
	working.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return []float64{float64(done.Load()) / time.Since(began).Seconds()}, nil
}
