package record

import (
	"os"
	"strconv"
	"testing"

	"github.com/tracbus/tracbus"
)

// Number returns the number that a variable holds, or else another.
func Number(t testing.TB, variable string, otherwise int) int {
	t.Helper()
	s := os.Getenv(variable)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s: expected a number from 1, found %q", variable, s)
	}
	return n
}

// Drivers are the names under which package sql knows the databases.
var Drivers = map[tracbus.Dialect]string{
	tracbus.SQLite: "sqlite", tracbus.PostgreSQL: "pgx", tracbus.MySQL: "mysql",
}
