package record

import (
	"database/sql"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
)

// openTransactions lists the transactions that may still write: those of processes that
// are gone, and of connections that were cut.
var openTransactions = map[tracbus.Dialect]string{
	tracbus.SQLite: `SELECT '' WHERE 0`,
	tracbus.PostgreSQL: `SELECT concat_ws(' ', pid, state, wait_event_type, wait_event, xact_start, query) FROM pg_stat_activity
		WHERE pid <> pg_backend_pid() AND datname = current_database() AND (backend_xid IS NOT NULL OR wait_event_type = 'Lock')`,
	tracbus.MySQL: `SELECT concat_ws(' ', p.id, p.command, p.time, p.state, t.trx_state, t.trx_started, t.trx_rows_locked, p.info)
		FROM information_schema.processlist p JOIN information_schema.innodb_trx t ON t.trx_mysql_thread_id = p.id
		WHERE t.trx_rows_locked > 0 OR t.trx_state = 'LOCK WAIT'`,
}

// WaitForEnd returns when nothing is written any more. It asks seldom, for
// InnoDB does not look again until nobody has asked for a tenth of a second.
func WaitForEnd(t testing.TB, db *sql.DB, d tracbus.Dialect) {
	t.Helper()
	quiet := 0
	var open []string
	defer func() {
		if len(open) > 0 {
			t.Errorf("these do not end:\n%s", strings.Join(open, "\n"))
		}
	}()
	testkit.Until(t, "no transaction writes any more", func() bool {
		Sleep(t.Context(), 250*time.Millisecond)
		var one string
		open = nil
		testkit.Scan(t, db, openTransactions[d], func() { open = append(open, one) }, &one)
		if quiet++; len(open) > 0 {
			quiet = 0
		}
		return quiet == 3
	})
}

// ReadTruth reads the tables when all is over, with statements of its own.
func ReadTruth(t testing.TB, db *sql.DB, d tracbus.Dialect) Truth {
	t.Helper()
	truth := Truth{Commits: map[string]int{}, Final: map[string]State{}}
	change := `"change"`
	if d == tracbus.MySQL {
		change = "`change`"
	}
	var c Change
	var realm, id string
	testkit.Scan(t, db, `SELECT 'ticket', tid, seq, id, `+change+`, author FROM ticket_journal UNION ALL
		SELECT 'wiki', tid, seq, id, `+change+`, author FROM wiki_journal ORDER BY 2, 3`, func() {
		c.Resource = realm + " " + id
		truth.Changes = append(truth.Changes, c)
	}, &realm, &c.TID, &c.Seq, &id, &c.Kind, &c.By)

	var n int64
	var maker string
	testkit.Scan(t, db, "SELECT maker, changes FROM attack_commit", func() { truth.Commits[maker] = int(n) }, &maker, &n)
	testkit.Scan(t, db, "SELECT id, n, maker FROM attack_item", func() { truth.Final["ticket "+id] = State{n, maker} }, &id, &n, &maker)
	testkit.Scan(t, db, "SELECT name, version, maker FROM attack_page ORDER BY name, version", func() {
		if before := truth.Final["wiki "+id].N; n != before+1 {
			t.Errorf("%s has version %d after version %d", id, n, before)
		}
		truth.Final["wiki "+id] = State{n, maker}
	}, &id, &n, &maker)
	return truth
}

// CheckTransactions: the table of all realms has the transactions that
// have changes, and each is marked by a mark of its own.
func CheckTransactions(t testing.TB, db *sql.DB, truth Truth) {
	t.Helper()
	missing := map[int64]bool{}
	for _, c := range truth.Changes {
		missing[c.TID] = true
	}
	marks := map[string]int64{}
	var tid int64
	var mark string
	testkit.Scan(t, db, "SELECT tid, commit_id FROM journal_change WHERE seq = 0 AND changes > 0 ORDER BY tid", func() {
		if !missing[tid] {
			t.Error("tables: tid " + strconv.FormatInt(tid, 10) + " has no change")
		}
		if other, ok := marks[mark]; ok {
			t.Errorf("tables: tid %d and tid %d have the same mark", other, tid)
		}
		delete(missing, tid)
		marks[mark] = tid
	}, &tid, &mark)
	if len(missing) > 0 {
		t.Errorf("tables: %d transactions have changes, and no row of their own: %v", len(missing), missing)
	}
}
