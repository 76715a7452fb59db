// Package drivers tests the journal with the drivers of others than package testdatabase. A driver
// of SQLite has a package of its own below, because several have the same name.
package drivers

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
)

// process is one of two that share a database.
type process struct {
	journal *tracbus.Journal
	mu      sync.Mutex
	heard   []tracbus.Event
	loaded  bool
	rows    int // of the application's table, as the snapshot shows them
}

// Load implements [tracbus.LoadListener].
func (p *process) Load(ctx context.Context, s *tracbus.Snapshot) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loaded = true
	return s.QueryRowContext(ctx, "SELECT count(*) FROM issue").Scan(&p.rows)
}

func (p *process) hear(e tracbus.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = append(p.heard, e)
	return nil
}

func (p *process) TicketCreated(_ context.Context, e tracbus.TicketCreated) error { return p.hear(e) }
func (p *process) TicketChanged(_ context.Context, e tracbus.TicketChanged) error { return p.hear(e) }
func (p *process) TicketDeleted(_ context.Context, e tracbus.TicketDeleted) error { return p.hear(e) }

// Essential does with a driver what applications do: two processes with a pool each, which write
// at the same time, roll back, join, load, follow and read back. open opens a pool of one empty
// database. pool bounds it; zero means that it is not bounded.
func Essential(t *testing.T, dialect tracbus.Dialect, pool int, open func() (*sql.DB, error)) {
	t.Helper()
	testkit.NoLeaks(t)
	ctx := testkit.Within(t)
	db := pooled(t, pool, open)
	_, err := db.ExecContext(ctx, "CREATE TABLE issue (id bigint PRIMARY KEY, title varchar(1000))")
	require.NoError(t, err)

	var kept testkit.Diary
	var all [2]*process
	for i := range all {
		p := &process{}
		all[i] = p
		bus := tracbus.BusConfig{Logger: testkit.Quiet}.NewBus("drivers")
		bus.Ticket(tracbus.Everywhere, p)
		tracbus.On(bus, tracbus.Durable("log"), func(_ context.Context, e tracbus.TicketChanged) error {
			kept.Write("%s", e.Comment)
			return nil
		})
		p.journal, err = tracbus.OpenJournal(ctx, pooled(t, pool, open), bus, tracbus.JournalConfig{
			Dialect: dialect, PollInterval: 5 * time.Millisecond, Logger: testkit.Quiet,
		})
		require.NoError(t, err)
		ran := make(chan error, 1)
		go func() { ran <- p.journal.Run(context.Background()) }()
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
			defer cancel()
			assert.NoError(t, p.journal.Close(ctx))
			assert.NoError(t, <-ran)
			assert.NoError(t, bus.Close(ctx))
		})
		testkit.Until(t, "it is loaded", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.loaded
		})
	}

	const writers, each = 4, 6
	last, want := write(t, ctx, dialect, all, writers, each)
	tid, comment := join(t, ctx, dialect, db, all[0].journal)
	last, want = max(last, tid), append(want, comment)
	for _, p := range all {
		require.NoError(t, p.journal.Wait(ctx, last))
		var read []tracbus.Event
		for e, err := range p.journal.Since(ctx, 0) {
			require.NoError(t, err)
			read = append(read, e)
		}
		p.mu.Lock()
		assert.Equal(t, read, p.heard, "what is read back is what was told")
		assert.Zero(t, p.rows, "nothing was there when it was loaded")
		var told []string
		for _, e := range p.heard {
			told = append(told, e.About().Comment)
		}
		p.mu.Unlock()
		assert.ElementsMatch(t, want, told)
		status, err := p.journal.Status(ctx)
		require.NoError(t, err)
		assert.NoError(t, status.Err)
	}
	testkit.Until(t, "the consumer has it all", func() bool { return len(kept.Read()) >= len(want) })
	assert.ElementsMatch(t, want, kept.Read())
	var rows int
	require.NoError(t, db.QueryRowContext(ctx, "SELECT count(*) FROM issue").Scan(&rows))
	assert.Equal(t, writers*each+1, rows, "tables and journal agree")
}

// write has writers of both processes commit, each now and then two changes, and roll back between.
func write(t *testing.T, ctx context.Context, dialect tracbus.Dialect, all [2]*process, writers, each int) (last int64, want []string) {
	t.Helper()
	var mu sync.Mutex
	var group sync.WaitGroup
	no := errors.New("no")
	for w := range writers {
		group.Go(func() {
			j := all[w%2].journal
			for i := range each {
				comment := fmt.Sprintf("%d.%d 'ü\" \\ \n?$1", w, i)
				id := int64(1 + w*each + i)
				tid, err := j.Update(ctx, tracbus.Actor{Author: "joe", IPNR: "::1"}, func(tx *tracbus.ModelTransaction) error {
					if _, err := tx.SQL().ExecContext(ctx, marks(dialect, "INSERT INTO issue VALUES (?, ?)"), id, comment); err != nil {
						return err
					}
					if err := tx.Record(ctx, change(id, comment)); err != nil {
						return err
					}
					return tx.Record(ctx, change(id+1000, comment))
				})
				if !assert.NoError(t, err) {
					return
				}
				_, err = j.Update(ctx, tracbus.Actor{}, func(tx *tracbus.ModelTransaction) error {
					_, err := tx.SQL().ExecContext(ctx, marks(dialect, "INSERT INTO issue VALUES (?, ?)"), -id, "never")
					return errors.Join(err, tx.Record(ctx, change(id, "never")), no)
				})
				assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
				assert.ErrorIs(t, err, no)
				mu.Lock()
				last, want = max(last, tid), append(want, comment, comment)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return last, want
}

// join has the journal take part in a transaction of the application's own.
func join(t *testing.T, ctx context.Context, dialect tracbus.Dialect, db *sql.DB, j *tracbus.Journal) (tid int64, comment string) {
	t.Helper()
	comment = "joined"
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	defer tx.Rollback()
	_, err = tx.ExecContext(ctx, marks(dialect, "INSERT INTO issue VALUES (?, ?)"), 777, comment)
	require.NoError(t, err)
	joined, err := j.Join(tx)
	require.NoError(t, err)
	require.NoError(t, joined.Prepare(tracbus.Actor{Author: "ann"}, ""))
	require.NoError(t, joined.Record(ctx, change(777, comment)))
	tid, err = joined.Flush(ctx)
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	joined.Notify()
	return tid, comment
}

// change is a change of a ticket with a value of each type.
func change(id int64, comment string) tracbus.TicketChanged {
	return tracbus.TicketChanged{
		Change: tracbus.Change{Comment: comment, Env: "project"}, ID: id,
		Values: tracbus.Fields{"title": comment, "n": json.Number("1.50"), "ok": true, "none": nil, "due": time.UnixMicro(1).UTC(), "big": strings.Repeat("ü", 5000)},
		Old:    tracbus.Fields{"title": "", "due": nil},
	}
}

// pooled opens a pool that ends with the test.
func pooled(t *testing.T, most int, open func() (*sql.DB, error)) *sql.DB {
	t.Helper()
	db, err := open()
	require.NoError(t, err)
	db.SetMaxOpenConns(most)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

// marks writes $1 for ? if the database expects that.
func marks(d tracbus.Dialect, text string) string {
	if d != tracbus.PostgreSQL {
		return text
	}
	parts := strings.Split(text, "?")
	for i := range slices.Backward(parts[1:]) {
		parts[i+1] = fmt.Sprintf("$%d", i+1) + parts[i+1]
	}
	return strings.Join(parts, "")
}
