package sqltext_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus/internal/sqltext"
)

// TestIsBusy: the words are SQLite's, and each driver says more.
func TestIsBusy(t *testing.T) {
	for text, busy := range map[string]bool{
		"database is locked (5) (SQLITE_BUSY)":                     true, // modernc.org/sqlite
		"database is locked (517)":                                 true,
		"database table is locked (262)":                           true,
		"sqlite3: database is locked":                              true, // ncruces/go-sqlite3
		"sqlite3: database table is locked":                        true,
		"database is locked":                                       true, // mattn/go-sqlite3
		"database table is locked: journal_transaction":            true,
		"database schema is locked: main":                          true,
		"attempt to write a readonly database (8)":                 false,
		"cannot start a transaction within a transaction":          false,
		"sqlite3: interrupted":                                     false,
		"not a database: the file says that its table is unlocked": false,
	} {
		assert.Equal(t, busy, sqltext.IsBusy(errors.New(text)), text)
	}
	assert.False(t, sqltext.IsBusy(nil))
}

// pgError has the fields of pgx's, pqError those of lib/pq's that say as much.
type pgError struct{ Severity, SeverityUnlocalized, Code string }

func (e *pgError) Error() string    { return e.Severity + " " + e.Code }
func (e *pgError) SQLState() string { return e.Code }

type pqError struct {
	Severity string
	Code     string
}

func (e *pqError) Error() string    { return e.Severity + " " + e.Code }
func (e *pqError) SQLState() string { return e.Code }

// TestPostgreSQLAnswered: an ERROR says that nothing was done, also one of a class
// whose graver errors can come after a commit.
func TestPostgreSQLAnswered(t *testing.T) {
	for _, test := range []struct {
		err      error
		answered bool
	}{
		{&pgError{"FEHLER", "ERROR", "57014"}, true},
		{&pgError{"ERROR", "ERROR", "58030"}, true},
		{&pgError{"FATAL", "FATAL", "57P01"}, false},
		{&pgError{"FATAL", "FATAL", "57P05"}, false},
		{&pgError{"PANIC", "PANIC", "53100"}, false},
		{&pgError{"PANIK", "PANIC", "XX000"}, false},
		{&pgError{"FATAL", "FATAL", "25P03"}, true}, // its transaction was idle
		{&pgError{"ERROR", "ERROR", "08P01"}, false},
		{&pgError{"ERROR", "ERROR", "40001"}, true},
		{&pqError{"ERROR", "57014"}, true},
		{&pqError{"FATAL", "57P01"}, false},
		{&pqError{"", "57014"}, false},
		{&pqError{"", "23505"}, true},
		{errors.New("unexpected EOF"), false},
	} {
		assert.Equal(t, test.answered, sqltext.PostgreSQLAnswered(fmt.Errorf("wrapped: %w", test.err)), "%#v", test.err)
	}
}

// MySQLError is called as that of go-sql-driver, and has its field.
type MySQLError struct {
	Number  uint16
	Message string
}

func (e *MySQLError) Error() string { return fmt.Sprintf("Error %d: %s", e.Number, e.Message) }

// TestMySQLNumbers: the number tells, and not a text that has it by chance.
func TestMySQLNumbers(t *testing.T) {
	for _, test := range []struct {
		number                                         uint16
		locked, noRoutine, duplicate, noTable, refused bool
		foreign, unstorable                            bool
	}{
		{number: 1205, locked: true},
		{number: 3572, locked: true},
		{number: 1305, noRoutine: true},
		{number: 1062, duplicate: true},
		{number: 1146, noTable: true},
		{number: 1142, refused: true},
		{number: 1290, refused: true},
		{number: 1267, foreign: true},
		{number: 3854, foreign: true},
		{number: 1366, unstorable: true},
		{number: 1213},
	} {
		err := fmt.Errorf("wrapped: %w", errors.Join(errors.New("another"), &MySQLError{test.number, "tid 1205, after tids 1267, 1366, 3572, 1305, 1142, 1290, 1062 and 1146"}))
		assert.Equal(t, test.locked, sqltext.IsLocked(err), "%v", err)
		assert.Equal(t, test.noRoutine, sqltext.IsNoRoutine(err), "%v", err)
		assert.Equal(t, test.refused, sqltext.IsRefused(err), "%v", err)
		assert.Equal(t, test.duplicate, sqltext.IsDuplicate(err), "%v", err)
		assert.Equal(t, test.noTable, sqltext.IsNoTable(err), "%v", err)
		assert.Equal(t, test.foreign, sqltext.IsForeignText(err), "%v", err)
		assert.Equal(t, test.unstorable, sqltext.IsUnstorable(err), "%v", err)
	}
	assert.False(t, sqltext.IsLocked(errors.New("Error 1205 (HY000)")), "no error of the driver")
	assert.False(t, sqltext.IsLocked(nil))
}
