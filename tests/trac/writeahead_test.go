package trac_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
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
