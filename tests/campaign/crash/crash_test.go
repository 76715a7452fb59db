package tracbus_test

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// The variables that say how long a crash campaign is: how many rounds on each
// database, and for how long each has faults.
const (
	crashRoundsEnv  = "TRACBUS_CRASH_ROUNDS"
	crashSecondsEnv = "TRACBUS_CRASH_SECONDS"
)

// TestCrash lets processes write and relay to a Redis under Durable, and two others
// subscribe to it, while processes are killed and stopped, Redis is killed,
// stopped and paused, connections are cut, and databases killed and put back to
// a copy. Then it holds what came against the tables.
func TestCrash(t *testing.T) {
	if orders := os.Getenv(crashEnv); orders != "" {
		runCrashProcess(t, orders)
		return
	}
	rounds := attackNumber(t, crashRoundsEnv, 1)
	seconds := 5
	if testing.Short() {
		seconds = 3
	}
	duration := time.Duration(attackNumber(t, crashSecondsEnv, seconds)) * time.Second
	for at, d := range crashDatabases {
		t.Run(d.name, func(t *testing.T) {
			noLeaks(t)
			database := d.open(t)
			var totals crashTotals
			for n := range rounds {
				kind := crashKindOf(n, at)
				t.Run(fmt.Sprintf("%d %s", n+1, kind), func(t *testing.T) {
					r := newCrashRig(t, database, kind.redisArgs()...)
					defer func() { totals.add(r.totals) }()
					v := checkCrash(r.round(kind, duration))
					r.count(v)
					t.Logf("%s; the stream has %d of them, its subscriber received %d, the pub/sub subscriber %d, the listener was told %d\n%v",
						r.totals, countCrash(v.stream, crashEntry), countCrash(v.read, crashEntry), countCrash(v.heard, crashHeard), countCrash(v.told, crashTold), v)
					if len(v.found) > 0 {
						t.Error("under Durable, not all is as it should be: see above")
					}
					r.judge(v)
				})
			}
			t.Logf("%s, %v of faults in each round: %v", d.name, duration, totals)
		})
	}
}

// countCrash counts the lines of one word.
func countCrash(lines []crashLine, word crashWord) (n int) {
	for _, l := range lines {
		if l.Word == word {
			n++
		}
	}
	return n
}

// judge looks at what the checker is not about: what Update returned, and that
// enough happened.
func (r *crashRig) judge(v *crashVerdict) {
	runs := r.outcomes()
	outcomes := &attackVerdict{truth: v.truth}
	for _, run := range runs {
		for _, l := range run.with(attackFault) {
			r.t.Errorf("%s: %s", run.name, l.Result)
		}
		if v.gone == nil { // in which commits are lost
			outcomes.checkOutcomes(run)
		}
	}
	if len(outcomes.told) > 0 {
		r.t.Errorf("Update returned what did not happen: %s", outcomes)
	}
	if len(v.truth.changes) < 10 || r.totals.kills+r.totals.stops+r.totals.cuts == 0 {
		r.t.Errorf("too little happened for this to be a campaign: %v", r.totals)
	}
}
