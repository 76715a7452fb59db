package trac

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus"
)

// MySQLError is an error as the driver of MySQL returns it.
type MySQLError struct{ Number uint16 }

func (e *MySQLError) Error() string { return fmt.Sprint("error ", e.Number) }

// pgError is an error as the drivers of PostgreSQL return it.
type pgError string

func (e pgError) Error() string    { return "error " + string(e) }
func (e pgError) SQLState() string { return string(e) }

func TestOrConflict(t *testing.T) {
	for _, test := range []struct {
		err      error
		conflict bool
	}{
		{&MySQLError{1062}, true},
		{fmt.Errorf("insert: %w", &MySQLError{1062}), true},
		{&MySQLError{1146}, false},
		{fmt.Errorf("insert: %w", pgError("23505")), true},
		{pgError("40001"), false},
		{errors.New("UNIQUE constraint failed"), false}, // of SQLite, where it cannot happen
		{nil, false},
	} {
		got := orConflict(test.err)
		assert.Equal(t, test.conflict, errors.Is(got, tracbus.ErrConflict), "%v", test.err)
		assert.ErrorIs(t, got, test.err)
	}
}
