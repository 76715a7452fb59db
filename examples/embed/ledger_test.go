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

// ledger is what the database itself knows of the tickets: triggers write down each change, in the
// transaction that makes it. Neither the applications nor tracbus know of it.
type ledger struct {
	t   *testing.T
	dsn string
	db  *sql.DB
}

// newLedger makes a database with the table of the applications.
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
	l.exec("CREATE TABLE ledger (n " + id + ", ticket BIGINT NOT NULL, line TEXT NOT NULL)")
	l.trigger(s.Dialect, "INSERT", "NEW", "'created ', NEW.title")
	l.trigger(s.Dialect, "UPDATE", "NEW", "'changed ', OLD.title, ' to ', NEW.title")
	l.trigger(s.Dialect, "DELETE", "OLD", "'deleted ', OLD.title")
	return l
}

func (l *ledger) trigger(dialect, when, row, line string) {
	insert := fmt.Sprintf("INSERT INTO ledger (ticket, line) VALUES (%s.id, CONCAT(%s))", row, line)
	on := fmt.Sprintf("CREATE TRIGGER told%s AFTER %s ON ticket FOR EACH ROW ", when, when)
	switch dialect {
	case "postgresql":
		l.exec("CREATE FUNCTION told" + when + "() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + insert + "; RETURN NULL; END $$")
		l.exec(on + "EXECUTE FUNCTION told" + when + "()")
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

// histories returns the changes of each ticket, in the order in which they were committed: who changes
// a ticket locks it, so that they are numbered in this order.
func (l *ledger) histories() map[int64][]string {
	l.t.Helper()
	all := map[int64][]string{}
	var ticket int64
	var line string
	testkit.Scan(l.t, l.db, "SELECT ticket, line FROM ledger ORDER BY n", func() { all[ticket] = append(all[ticket], line) }, &ticket, &line)
	return all
}

// tickets returns the titles.
func (l *ledger) tickets() map[int64]string {
	l.t.Helper()
	all := map[int64]string{}
	var ticket int64
	var title string
	testkit.Scan(l.t, l.db, "SELECT id, title FROM ticket", func() { all[ticket] = title }, &ticket, &title)
	return all
}
