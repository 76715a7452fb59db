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
