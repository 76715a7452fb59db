package embed_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// ledger is what the database itself knows of tickets and tasks: triggers write down each change, in the
// transaction that makes it. Neither the applications nor tracbus know of it.
type ledger struct {
	t   *testing.T
	dsn string
	db  *sql.DB
}

// tables are those of the applications.
var tables = [...]string{"ticket", "task"}

// newLedger makes a database with the tables of the applications.
func newLedger(t *testing.T, s *testdatabase.Server) *ledger {
	t.Helper()
	l := &ledger{t: t, dsn: s.DSN(s.Name())}
	if s.Dialect == "sqlite" {
		l.dsn += "&_txlock=immediate"
	}
	l.db = s.Open(t, l.dsn)
	id := map[string]string{
		"sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT", "mysql": "BIGINT AUTO_INCREMENT PRIMARY KEY",
		"postgresql": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
	}[s.Dialect]
	l.exec("CREATE TABLE ticket (id " + id + ", title TEXT NOT NULL)")
	l.exec("CREATE TABLE task (id VARCHAR(20) PRIMARY KEY, title TEXT NOT NULL)")
	l.exec("CREATE TABLE ledger (n " + id + ", resource TEXT NOT NULL, line TEXT NOT NULL)")
	for _, table := range tables {
		l.trigger(s.Dialect, table, "INSERT", "NEW", "'created ', NEW.title")
		l.trigger(s.Dialect, table, "UPDATE", "NEW", "'changed ', OLD.title, ' to ', NEW.title")
		l.trigger(s.Dialect, table, "DELETE", "OLD", "'deleted ', OLD.title")
	}
	return l
}

func (l *ledger) trigger(dialect, table, when, row, line string) {
	insert := fmt.Sprintf("INSERT INTO ledger (resource, line) VALUES (CONCAT('%s ', %s.id), CONCAT(%s))", table, row, line)
	name := "told" + table + when
	on := fmt.Sprintf("CREATE TRIGGER %s AFTER %s ON %s FOR EACH ROW ", name, when, table)
	switch dialect {
	case "postgresql":
		l.exec("CREATE FUNCTION " + name + "() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + insert + "; RETURN NULL; END $$")
		l.exec(on + "EXECUTE FUNCTION " + name + "()")
	case "sqlite":
		l.exec(on + "BEGIN " + strings.NewReplacer("CONCAT(", "(", ", '", " || '", "', ", "' || ").Replace(insert) + "; END")
	default:
		l.exec(on + insert)
	}
}

func (l *ledger) exec(statement string) {
	l.t.Helper()
	_, err := l.db.Exec(statement)
	require.NoError(l.t, err, statement)
}

// count returns how many changes were committed.
func (l *ledger) count() (n int) {
	l.t.Helper()
	require.NoError(l.t, l.db.QueryRow("SELECT COUNT(*) FROM ledger").Scan(&n))
	return n
}

// histories returns the changes of each resource, in the order in which they were committed: who changes
// one locks it, so that they are numbered in this order.
func (l *ledger) histories() map[string][]string {
	l.t.Helper()
	all := map[string][]string{}
	var resource, line string
	testkit.Scan(l.t, l.db, "SELECT resource, line FROM ledger ORDER BY n", func() { all[resource] = append(all[resource], line) }, &resource, &line)
	return all
}

// titles returns those of tickets and tasks.
func (l *ledger) titles() map[string]string {
	l.t.Helper()
	all := map[string]string{}
	for _, table := range tables {
		var id, title string
		testkit.Scan(l.t, l.db, "SELECT id, title FROM "+table, func() { all[table+" "+id] = title }, &id, &title)
	}
	return all
}
