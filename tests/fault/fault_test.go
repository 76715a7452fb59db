// Package fault_test has the database, the network and the caller fail at every
// statement of what the library does.
package fault_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// everywhereEnv names the variable that has every fault happen at every statement of
// those who follow and of a durable consumer too, and not at a sample.
const everywhereEnv = "TRACBUS_FAULTS_EVERYWHERE"

// TestFaultAtEveryStatement counts the statements of an operation, and then has each
// fault happen at each of them. What the operation returns must be what the tables
// have; it comes in time; both processes are told what was committed, once; and
// nothing is left: no goroutine, no connection, and in the server no session, no
// transaction and no lock.
func TestFaultAtEveryStatement(t *testing.T) {
	testkit.NoLeaks(t)
	var benches sync.WaitGroup
	defer benches.Wait()
	for _, dialect := range []string{"sqlite", "postgresql", "mysql"} {
		benches.Go(func() {
			t.Run(dialect, func(t *testing.T) {
				s := testdatabase.New(t, dialect)
				var operations sync.WaitGroup // which wait for their bounds most of the time
				defer operations.Wait()
				for name, f := range map[string]func(*testing.T, *testdatabase.Server){"follow": followed, "load": loaded, "durable": durable} {
					operations.Go(func() { t.Run(name, func(t *testing.T) { f(t, s) }) })
				}
				for _, o := range writes {
					operations.Go(func() { t.Run(o.name, func(t *testing.T) { newBench(t, s, false, nil).everyStatement(o) }) })
				}
			})
		})
	}
}

// fits says whether a fault can happen to a statement.
func (f fault) fits(dialect, text string) bool {
	return strings.Contains(f.on, dialect) && (f.only == nil || f.only(text))
}
