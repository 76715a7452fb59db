package tracbus_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/tracbus/tracbus"
)

// attackNumber returns the number that a variable holds, or else another.
func attackNumber(t testing.TB, variable string, otherwise int) int {
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

// attackDrivers are the names under which package sql knows the databases.
var attackDrivers = map[tracbus.Dialect]string{
	tracbus.SQLite: "sqlite", tracbus.PostgreSQL: "pgx", tracbus.MySQL: "mysql",
}
