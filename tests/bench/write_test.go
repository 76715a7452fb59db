package bench_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

// benchWay is one way to store an edit.
type benchWay struct {
	name    string
	tracker *benchTracker
	store   func(ctx context.Context, m benchEdit) error
}

// BenchmarkJournalWrite measures transactions per second, durable ones: the
// model's rows alone; the journaled transaction; and all the same rows written
// by hand. They take turns on one server, each with a database of its own.
// On MySQL "byhand" takes its tid from the same counter as the journal, and
// "uncounted" from AUTO_INCREMENT, which promises no order.
func BenchmarkJournalWrite(b *testing.B) {
	for _, name := range []string{"sqlite", "postgresql", "mysql", "mysql-flush=1ms"} {
		b.Run(name, func(b *testing.B) {
			server := durableServer(b, name)
			tracker := func() *benchTracker { return newBenchTracker(b, server, tracbus.JournalConfig{}) }
			journaled, model, hand := tracker(), tracker(), byHandJournal{benchTracker: tracker()}
			ways := []benchWay{
				{"journaled", journaled, func(ctx context.Context, m benchEdit) error {
					_, err := journaled.update(ctx, m)
					return err
				}},
				{"model", model, byHandJournal{benchTracker: model, none: true}.store},
				{"byhand", hand.benchTracker, hand.prepared(b).store},
			}
			if server.Dialect == "mysql" {
				free := byHandJournal{benchTracker: tracker(), uncounted: true}
				free.mustExec(b, "ALTER TABLE journal_transaction MODIFY tid BIGINT NOT NULL AUTO_INCREMENT")
				ways = append(ways, benchWay{"uncounted", free.benchTracker, free.store})
			}
			for _, w := range ways {
				require.NoError(b, w.store(b.Context(), benchEdit{w.tracker, 7, "milestone7", "It is."}))
				if w.name != "model" {
					require.Equal(b, journaled.written(b), w.tracker.written(b), w.name)
				}
			}
			for _, writers := range []int{1, 8, 32} {
				b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) { benchmarkWays(b, ways, writers) })
			}
		})
	}
}

func benchmarkWays(b *testing.B, ways []benchWay, writers int) {
	slice := 200 * time.Millisecond
	for _, w := range ways {
		w.tracker.db.SetMaxOpenConns(writers)
		w.tracker.db.SetMaxIdleConns(writers) // the line above lowers it for good
		w.run(b, writers, slice/10)           // makes the connections, and fills the drivers' caches
	}
	rates := map[string][]float64{}
	for turn := 0; b.Loop(); turn++ {
		if turn == 1 { // the first counts only where there is no other: many servers' processes start slowly
			slice = 800 * time.Millisecond
			clear(rates)
		}
		for _, w := range ways {
			rates[w.name] = append(rates[w.name], w.run(b, writers, slice))
		}
	}
	b.ReportMetric(0, "ns/op") // a turn of all ways says nothing
	for _, w := range ways {
		if w.name != "journaled" {
			reportRatio(b, rates["journaled"], rates[w.name], "journaled/"+w.name)
		}
	}
	for _, w := range ways {
		reportMedian(b, rates[w.name], w.name+"-tx/s")
	}
}

// run returns how many transactions a second end within a while.
func (w benchWay) run(b *testing.B, writers int, while time.Duration) float64 {
	var done atomic.Int64
	var failed atomic.Value
	var all sync.WaitGroup
	end := time.Now().Add(while)
	for range writers {
		all.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				m := benchEdit{w.tracker, 1 + mathrand.Int64N(benchTickets), fmt.Sprintf("milestone%d", mathrand.IntN(1000)), usualComment}
				switch err := w.store(b.Context(), m); {
				case err != nil && strings.Contains(err.Error(), "database is locked"): // starved, by hand
				case err != nil:
					failed.Store(err)
					return
				case time.Now().Before(end):
					done.Add(1)
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		b.Fatalf("%s: %v", w.name, err)
	}
	return float64(done.Load()) / while.Seconds()
}

var usualComment = usual(1).Comment

// byHandJournal writes what the journal writes, as a programmer would who has no
// library: one statement after the other, with values beside the text.
type byHandJournal struct {
	*benchTracker
	none      bool // only the model
	uncounted bool // tids by AUTO_INCREMENT
	class     int64
}

func (h byHandJournal) prepared(b *testing.B) byHandJournal {
	require.NoError(b, h.db.QueryRowContext(b.Context(), "SELECT lock_class FROM journal_facts").Scan(&h.class))
	return h
}

// store stores an edit.
func (h byHandJournal) store(ctx context.Context, m benchEdit) error {
	tx, err := h.begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	now := time.Now().UTC().Truncate(time.Microsecond)
	was, err := m.write(ctx, tx, now.UnixMicro())
	if err == nil && !h.none {
		err = h.journal(ctx, tx, m, was, now.UnixMicro())
	}
	if err != nil {
		return err
	}
	return tx.Commit()
}

func (h byHandJournal) journal(ctx context.Context, tx benchTx, m benchEdit, was benchTicket, now int64) error {
	state, err := json.Marshal(map[string]any{
		"summary": was.summary, "reporter": was.reporter, "owner": was.owner, "type": was.kind, "status": was.status,
		"priority": was.priority, "component": was.component, "version": was.version, "resolution": was.resolution,
		"keywords": was.keywords, "cc": was.cc, "description": was.description,
		"time": map[string]int64{"time": was.time}, "changetime": map[string]int64{"time": now},
	})
	if err != nil {
		return err
	}
	tid, err := h.transaction(ctx, tx)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, h.text("INSERT INTO ticket_journal (tid, seq, id, "+h.quoted("change")+
		", time, author, ipnr, authenticated, comment, parts, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
		tid, 0, m.Resource().ID, "changed", now, "joe", "192.0.2.1", 1, m.comment, 0, string(state))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, h.text("INSERT INTO ticket_history (tid, seq, id, field, old_type, old_value, new_type, new_value) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"),
		tid, 0, m.Resource().ID, "milestone", "text", was.milestone, "text", m.milestone)
	return err
}

// transaction takes a tid and writes the transaction's row.
func (h byHandJournal) transaction(ctx context.Context, tx benchTx) (tid int64, err error) {
	mark, origin := rand.Text(), benchOrigin
	if h.dialect == tracbus.SQLite || h.uncounted {
		result, err := tx.ExecContext(ctx, "INSERT INTO journal_transaction (mark, origin, realms) VALUES (?, ?, ?)", mark, origin, "ticket")
		if err != nil {
			return 0, err
		}
		return result.LastInsertId()
	}
	if h.dialect == tracbus.PostgreSQL {
		_, err = tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock_shared(($1::bigint << 48) | coalesce(pg_sequence_last_value('journal_tid'), 0))", h.class)
		if err == nil {
			err = tx.QueryRowContext(ctx, "SELECT nextval('journal_tid')").Scan(&tid)
		}
	} else {
		var result sql.Result
		if result, err = tx.ExecContext(ctx, "UPDATE journal_head SET tid = LAST_INSERT_ID(tid + 1) WHERE one = 1"); err == nil {
			tid, err = result.LastInsertId()
		}
	}
	if err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, h.text("INSERT INTO journal_transaction (tid, mark, origin, realms) VALUES (?, ?, ?, ?)"), tid, mark, origin, "ticket")
	return tid, err
}

var benchOrigin = rand.Text()

// benchTx is a transaction of package sql, or SQLite's that takes its place as a
// writer at once.
type benchTx interface {
	tracbus.SQL
	Commit() error
	Rollback() error
}

func (h byHandJournal) begin(ctx context.Context) (benchTx, error) {
	if h.dialect != tracbus.SQLite {
		return h.db.BeginTx(ctx, nil)
	}
	conn, err := h.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &immediateTx{Conn: conn, ctx: ctx}, nil
}

type immediateTx struct {
	*sql.Conn
	ctx context.Context
}

func (tx *immediateTx) Commit() error {
	_, err := tx.ExecContext(tx.ctx, "COMMIT")
	if err == nil {
		err = tx.Close()
		tx.Conn = nil
	}
	return err
}

func (tx *immediateTx) Rollback() error {
	if tx.Conn == nil {
		return nil
	}
	_, _ = tx.ExecContext(tx.ctx, "ROLLBACK")
	return tx.Close()
}

// written returns the journal's rows of the one entry in it, but for what is
// another each time: place, mark and time.
func (t *benchTracker) written(b *testing.B) (rows []any) {
	var seq, authenticated, parts int
	var realms, id, change, author, ipnr, comment, state string
	err := t.db.QueryRowContext(b.Context(), "SELECT realms, seq, id, "+t.quoted("change")+`, author, ipnr, authenticated, comment, parts, state
		FROM journal_transaction JOIN ticket_journal ON ticket_journal.tid = journal_transaction.tid`).Scan(
		&realms, &seq, &id, &change, &author, &ipnr, &authenticated, &comment, &parts, &state)
	require.NoError(b, err)
	fields := map[string]any{}
	require.NoError(b, json.Unmarshal([]byte(state), &fields))
	delete(fields, "changetime")

	var field, oldType, oldValue, newType, newValue string
	err = t.db.QueryRowContext(b.Context(), "SELECT field, old_type, old_value, new_type, new_value FROM ticket_history").Scan(
		&field, &oldType, &oldValue, &newType, &newValue)
	require.NoError(b, err)
	return []any{realms, seq, id, change, author, ipnr, authenticated, comment, parts, fields, field, oldType, oldValue, newType, newValue}
}
