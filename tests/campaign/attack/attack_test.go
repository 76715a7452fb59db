// Package attack_test has processes change one database and kills, stops and cuts
// them off meanwhile.
package attack_test

import (
	"cmp"
	"database/sql"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/campaign/record"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// secondsEnv names the variable that says how long an attack lasts.
const secondsEnv = "TRACBUS_ATTACK_SECONDS"

// TestAttack lets eight processes with eight writers each make random
// transactions on one database, kills, stops and cuts them off throughout, and
// then holds what their listeners were told against the tables.
//
// Beside them runs the reader of Trac's proposal, with the same checker.
func TestAttack(t *testing.T) {
	if orders := os.Getenv(processEnv); orders != "" {
		runTracker(t, orders)
		return
	}
	seconds := 10
	if testing.Short() {
		seconds = 3
	}
	duration := time.Duration(record.Number(t, secondsEnv, seconds)) * time.Second
	// One after the other: each has more processes than most machines have
	// processors.
	for _, tc := range []struct {
		name    string
		dialect tracbus.Dialect
		open    func(t *testing.T) (dsn string, addr string, via func(addr string) string)
		loses   bool // the plain reader does
	}{
		{"SQLite", tracbus.SQLite, onSQLite, false},
		{"PostgreSQL", tracbus.PostgreSQL, onPostgres, true},
		{"MariaDB", tracbus.MySQL, onMariaDB, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := &rig{t: t, dialect: tc.dialect, folder: t.TempDir(), random: rand.New(rand.NewPCG(seed, 0))}
			dsn, addr, via := tc.open(t)
			for range trackers {
				own := dsn
				if via != nil {
					p := testserver.Proxy(t, addr)
					r.proxies = append(r.proxies, p)
					own = via(p.Addr())
				}
				r.dsns = append(r.dsns, own)
			}
			db, err := sql.Open(record.Drivers[tc.dialect], dsn)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			record.CreateTables(t, db, tc.dialect)

			r.open()
			r.attack(duration)
			r.stop()
			record.WaitForEnd(t, db, tc.dialect)
			var last int64
			if err := db.QueryRowContext(t.Context(), "SELECT MAX(tid) FROM journal_change").Scan(&last); err != nil {
				t.Fatalf("the last tid: %v", err)
			}
			runs := r.finish(last)
			r.judge(db, duration, runs, tc.loses)
		})
	}
}

func onSQLite(t *testing.T) (string, string, func(string) string) {
	path := filepath.Join(t.TempDir(), "attack.db")
	return "file:" + path + "?_pragma=busy_timeout(60000)&_pragma=journal_mode(" + cmp.Or(os.Getenv("TRACBUS_SQLITE_JOURNAL"), "WAL") + ")", "", nil
}

func onPostgres(t *testing.T) (string, string, func(string) string) {
	s := testserver.Postgres(t, testserver.PostgresOptions{Args: []string{"-c", "max_connections=500"}})
	s.CreateDatabase("attack")
	return s.DSN("attack"), s.Addr(), func(addr string) string { return s.DSNVia(addr, "attack") }
}

func onMariaDB(t *testing.T) (string, string, func(string) string) {
	s := testserver.MariaDB(t, testserver.MariaDBOptions{Args: []string{"--log-warnings=0", "--max-connections=500"}})
	s.CreateDatabase("attack")
	return s.DSN("attack") + testdatabase.MySQLParameters, s.Addr(),
		func(addr string) string { return s.DSNVia(addr, "attack") + testdatabase.MySQLParameters }
}

// judge shows what the checker says of both readers.
func (r *rig) judge(db *sql.DB, duration time.Duration, runs []record.Run, plainLoses bool) {
	truth := record.ReadTruth(r.t, db, r.dialect)
	record.CheckTransactions(r.t, db, truth)
	told, held := 0, []string{}
	results := map[string]int{}
	for _, run := range runs {
		told += len(run.With(record.Everywhere))
		for _, l := range run.With(record.Held) {
			held = append(held, l.Result)
		}
		for _, l := range run.With(record.Outcome) {
			result, _, _ := strings.Cut(l.Result, ":")
			results[result]++
		}
	}
	r.t.Logf("%s, %v, %d processes × %d writers: %d transactions with %d changes (Update: %d committed, %d not, %d unknown); "+
		"%d kills, %d cuts, %d stops, %d runs; held open: %v", r.dialect, duration, trackers, writersEach,
		len(truth.Commits), len(truth.Changes), results[record.Committed], results[record.NotCommitted], results[record.Unknown],
		r.kills, r.cuts, r.stops, len(runs), held)
	if r.dialect == tracbus.MySQL { // transactions that ended with a tid, and nobody else has it
		var closed int
		if err := db.QueryRowContext(r.t.Context(), "SELECT count(*) FROM journal_change WHERE changes = 0").Scan(&closed); err != nil || closed == 0 {
			r.t.Errorf("%d tids were closed, error %v: expected some", closed, err)
		}
		r.t.Logf("%d tids were closed", closed)
	}
	v := record.Check(truth, runs)
	r.t.Logf("the journal, of %d changes told: %v", told, v)
	if len(v.Told) > 0 {
		r.t.Error("the journal does not hold what it promises: see above")
	}
	if told < 100 || results[record.Committed] < 50 || results[record.NotCommitted] == 0 || r.kills == 0 || r.stops == 0 || (r.cuts == 0 && r.dialect != "sqlite") {
		r.t.Error("too little happened for this to be an attack: see above")
	}

	tids, err := record.ReadTIDs(r.t.Context(), db, "SELECT DISTINCT tid FROM "+record.PlainTables[r.dialect]+" ORDER BY tid")
	if err != nil {
		r.t.Fatal(err)
	}
	plain, read := record.CheckPlain(tids, runs)
	lost := plain.Counts[record.Lost]
	r.t.Logf("the proposal's plain reader, of %d transactions to read: %s", read+lost, plain.Summary(record.Invented+1))
	if plainLoses && lost == 0 {
		r.t.Log("the plain reader was lucky: the attack is too short or the machine too slow")
	}
	if !plainLoses && len(plain.Told) > 0 {
		r.t.Error("on a database with one writer at a time, even the plain reader loses nothing")
	}
}
