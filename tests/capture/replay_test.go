package capture_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/capture"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
	"github.com/tracbus/tracbus/trac/realms"
)

// line is one of a recording.
type line struct {
	Begin, End *int
	Every      int
	SQL        [][2]json.RawMessage
	Told       []capture.Told
}

// TestForeignReplay runs the statements that a real Trac 1.6 ran in recorded histories, through the
// triggers, and takes them in after one transaction, or three, or ten, or all. The journal then
// says what Trac's own listeners were told. The recording is made by testdata/history.py of
// package realtrac.
func TestForeignReplay(t *testing.T) {
	histories := readHistories(t)
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		r := newReplay(t, s)
		told, different := 0, 0
		for _, h := range histories {
			want, got := r.history(h)
			told += len(want)
			if !assert.Equal(t, capture.ByResource(want), capture.ByResource(got), "history %d, taken in after every %d", *h[0].Begin, h[0].Every) {
				if different++; different == 3 {
					t.FailNow()
				}
			}
		}
		t.Logf("%d histories, %d events", len(histories), told)
		assert.Greater(t, told, 3000)
	})
}

// readHistories returns the lines of each history.
func readHistories(t *testing.T) (all [][]line) {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", "histories.jsonl.gz"))
	require.NoError(t, err)
	defer file.Close()
	text, err := gzip.NewReader(file)
	require.NoError(t, err)
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 10<<20)
	for lines.Scan() {
		var l line
		require.NoError(t, json.Unmarshal(lines.Bytes(), &l))
		if l.Begin != nil {
			all = append(all, nil)
		}
		if l.End == nil {
			all[len(all)-1] = append(all[len(all)-1], l)
		}
	}
	require.NoError(t, lines.Err())
	require.NotEmpty(t, all)
	return all
}

// replay is a database with Trac's tables and a journal that does not run.
type replay struct {
	t       *testing.T
	dialect string
	db      *sql.DB
	journal *tracbus.Journal
	head    int64
}

func newReplay(t *testing.T, s *testdatabase.Server) *replay {
	name := s.Name()
	r := &replay{t: t, dialect: s.Dialect, db: s.Open(t, s.DSN(name))}
	for _, statement := range tracdatabase.Schema(s.Dialect) {
		r.exec(r.db, statement)
	}
	config, err := tracbus.LoadConfig(filepath.Join("testdata", "env"))
	require.NoError(t, err)
	bus := tracbus.NewBus("test")
	r.journal, err = tracbus.OpenJournal(t.Context(), s.Open(t, s.DSN(name)), bus, tracbus.JournalConfig{
		Dialect: tracbus.Dialect(s.Dialect), Capture: trac.Capture{Install: true},
		Realms: []tracbus.JournalRealm{
			trac.Tickets{CustomFields: config.CustomFields}, tracbus.Pages{}, realms.Milestones{}, realms.Components{}, realms.Versions{}, realms.Attachments{},
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, errors.Join(r.journal.Close(context.Background()), bus.Close(context.Background())))
	})
	return r
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func (r *replay) exec(q execer, text string, args ...any) {
	r.t.Helper()
	_, err := q.ExecContext(r.t.Context(), text, args...)
	require.NoError(r.t, err, text)
}

// history runs one, and returns what was told, and what the journal says.
func (r *replay) history(h []line) (want, got []capture.Told) {
	for _, table := range []string{"ticket", "ticket_custom", "ticket_change", "wiki", "milestone", "component", "version", "attachment"} {
		r.exec(r.db, "DELETE FROM "+table)
	}
	r.transaction(h[0].SQL)
	r.exec(r.db, "DELETE FROM journal_inbox") // nobody was told of that
	for n, l := range h[1:] {
		r.transaction(l.SQL)
		want = append(want, l.Told...)
		if n%h[0].Every == 0 {
			r.takeIn()
		}
	}
	r.takeIn()
	for e, err := range r.journal.Since(r.t.Context(), r.head) {
		require.NoError(r.t, err)
		r.head = e.About().TID
		assert.False(r.t, e.About().Primary)
		assert.True(r.t, e.About().Absent.Has(tracbus.AttrAddress))
		if told, ok := capture.Plain(e); ok {
			got = append(got, told)
		}
	}
	return want, got
}

// transaction runs statements in one.
func (r *replay) transaction(statements [][2]json.RawMessage) {
	r.t.Helper()
	if len(statements) == 0 {
		return
	}
	tx, err := r.db.BeginTx(r.t.Context(), nil)
	require.NoError(r.t, err)
	defer tx.Rollback()
	for _, s := range statements {
		var text string
		var args []any
		require.NoError(r.t, json.Unmarshal(s[0], &text))
		decoder := json.NewDecoder(strings.NewReader(string(s[1])))
		decoder.UseNumber()
		require.NoError(r.t, decoder.Decode(&args))
		for i, a := range args {
			if n, ok := a.(json.Number); ok {
				args[i], err = n.Int64()
				require.NoError(r.t, err)
			}
		}
		r.exec(tx, r.written(text), args...)
	}
	require.NoError(r.t, tx.Commit())
}

// written writes a statement of Trac's for the database.
func (r *replay) written(text string) string {
	for n := 1; strings.Contains(text, "%s"); n++ {
		mark := "?"
		if r.dialect == "postgresql" {
			mark = fmt.Sprintf("$%d", n)
		}
		text = strings.Replace(text, "%s", mark, 1)
	}
	return text
}

func (r *replay) takeIn() {
	r.t.Helper()
	require.NoError(r.t, capture.TakeIn(r.t.Context(), r.db, r.journal))
}
