package trac_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
)

// TestAWriteAheadLogOfTracs: OpenJournal warns of a file that trac-admin hotcopy does not copy
// whole, and of no other.
func TestAWriteAheadLogOfTracs(t *testing.T) {
	version := append(tracdatabase.Schema("sqlite"), "INSERT INTO system VALUES ('database_version', '45')")
	for name, test := range map[string]struct {
		mode   string
		tables []string
		warned int
	}{
		"Trac's, with the log":                   {"WAL", version, 1},
		"Trac's, without":                        {"DELETE", version, 0},
		"tables as Trac's, but nobody's system":  {"WAL", version[:len(version)-1], 0},
		"no tables":                              {"WAL", nil, 0},
		"another's table system":                 {"WAL", []string{"CREATE TABLE system (name TEXT)"}, 0},
		"another's table system with its values": {"WAL", []string{"CREATE TABLE system (name TEXT, value TEXT)", "INSERT INTO system VALUES ('sun', '8 planets')"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := testdatabase.New(t, "sqlite")
			db := s.Open(t, testdatabase.SQLiteOfTrac(filepath.Join(t.TempDir(), "trac.db"))+"&_pragma=journal_mode("+test.mode+")")
			for _, statement := range test.tables {
				_, err := db.ExecContext(t.Context(), statement)
				require.NoError(t, err)
			}
			var log bytes.Buffer
			bus := tracbus.NewBus("test")
			j, err := tracbus.OpenJournal(t.Context(), db, bus, tracbus.JournalConfig{
				Dialect: tracbus.SQLite, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			require.NoError(t, err)
			require.NoError(t, errors.Join(j.Close(context.Background()), bus.Close(context.Background())))
			assert.Equal(t, test.warned, strings.Count(log.String(), "hotcopy"), log.String())
		})
	}
}

// TestWithoutAWriteAheadLog: a COMMIT waits for who reads. If that takes too long, nothing is
// stored, and the next change is as if nothing had been.
func TestWithoutAWriteAheadLog(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	dsn := "file:" + filepath.Join(t.TempDir(), "trac.db") + "?_pragma=busy_timeout(100)&_pragma=journal_mode(DELETE)"
	r := &ticketRig{t: t, dialect: tracbus.SQLite, db: s.Open(t, dsn), times: map[int64]string{}}
	for _, statement := range tracdatabase.Schema("sqlite") {
		r.exec(statement)
	}
	opening := limit.With(t.Context(), limit.Limits{Commit: 500 * time.Millisecond})
	bus := tracbus.NewBus("test")
	var err error
	r.journal, err = tracbus.OpenJournal(opening, r.db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite, Realms: testTicketRealm()})
	require.NoError(t, err)
	defer func() {
		require.NoError(t, errors.Join(r.journal.Close(context.Background()), bus.Close(context.Background())))
	}()
	r.save("joe", create(tracbus.Fields{"summary": "Crash"}))

	reader := s.Open(t, dsn)
	rows, err := reader.QueryContext(t.Context(), "SELECT id FROM ticket UNION ALL SELECT id FROM ticket")
	require.NoError(t, err)
	require.True(t, rows.Next())
	tid, err := r.journal.Update(t.Context(), tracbus.Actor{Author: "amy"}, func(tx *tracbus.ModelTransaction) error {
		return tx.Save(t.Context(), trac.TicketEdit{ID: 1, Comment: "Why?"})
	})
	require.ErrorIs(t, err, tracbus.ErrNotCommitted)
	require.Zero(t, tid)
	require.NoError(t, rows.Close())
	assert.NotContains(t, strings.Join(r.rows(), "\n"), "Why?")
	r.times = map[int64]string{}
	r.save("amy", trac.TicketEdit{ID: 1, Comment: "Now"})
	assert.Contains(t, r.rows(), "change 1 t0 amy comment: 1 > Now")
}
