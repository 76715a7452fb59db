// Package foreign_test has processes write Trac's tables as Trac does, beside others that write
// them through a journal, kills and stops them meanwhile, and holds what was told against what was committed.
package foreign_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
	"github.com/tracbus/tracbus/tests/realtrac"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
)

// secondsEnv names the variable that says how long the campaign lasts on each database.
const secondsEnv = "TRACBUS_FOREIGN_SECONDS"

func seconds(t *testing.T) time.Duration {
	return time.Duration(record.Number(t, secondsEnv, 6)) * time.Second
}

// TestForeign has four processes write as Trac does and four through a journal, which take in what
// the first write, kills and stops them, and then holds the journal and the stream against what was committed.
func TestForeign(t *testing.T) {
	if encoded := os.Getenv(processEnv); encoded != "" {
		runProcess(t, encoded)
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		r := onTables(t, s, program)
		r.campaign(seconds(t))
	})
}

// TestForeignTrac is the same with four processes of a real Trac.
func TestForeignTrac(t *testing.T) {
	found := realtrac.Find(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		env := found.NewEnvironment(s, "[ticket-custom]", custom+" = text")
		r := newRig(t, tracbus.Dialect(s.Dialect), env.Open(t), env.DSN(), program)
		r.trac, r.env = found, env.Path
		r.campaign(seconds(t))
	})
}

// onTables returns a rig on Trac's tables, without a Trac.
func onTables(t *testing.T, s *testdatabase.Server, program string) *rig {
	t.Helper()
	dsn := testdatabase.SQLiteOfTrac(filepath.Join(t.TempDir(), "trac.db"))
	if s.Dialect != "sqlite" {
		dsn = s.DSN(s.Name())
	}
	r := newRig(t, tracbus.Dialect(s.Dialect), s.Open(t, dsn), dsn, program)
	for _, statement := range tracdatabase.Schema(s.Dialect) {
		if _, err := r.db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// campaign is all of it.
func (r *rig) campaign(duration time.Duration) {
	r.t.Helper()
	v := r.play(duration)
	if len(v.found) > 0 {
		r.t.Error("what was told is not what was committed: see above")
	}
	if r.kills == 0 || r.stops == 0 || len(v.writes) < 50 {
		r.t.Error("too little happened for this to be a campaign: see above")
	}
}

// play lets all processes write for a time, and returns what the checker finds.
func (r *rig) play(duration time.Duration) *verdict {
	r.t.Helper()
	r.install()
	r.open()
	r.attack(duration)
	r.settle()
	v := check(r.story())
	did, taken := map[string]int{}, 0
	for _, l := range v.runs {
		who := "Go"
		if l.trac {
			who = "Trac"
		}
		for _, one := range l.lines {
			if one.Word == outcomeWord {
				result, _, _ := strings.Cut(one.Result, ":")
				did[who+" "+result]++
			}
		}
	}
	for _, t := range v.told {
		if t.Foreign {
			taken++
		}
	}
	r.t.Logf("%s, %v: transactions %v; %d changes told, %d of them taken in; %d in the stream; %d kills, %d of them of who takes in, %d stops, %d runs",
		r.dialect, duration, did, len(v.told), taken, len(v.stream), r.kills, r.importers, r.stops, len(r.all))
	r.t.Log(v)
	return v
}
