// Package crash_test has processes publish to a Redis through a durable consumer,
// and kills, stops and cuts off everything that takes part.
package crash_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// The variables that say how long a crash campaign is: how many rounds on each
// database, and for how long each has faults.
const (
	roundsEnv  = "TRACBUS_CRASH_ROUNDS"
	secondsEnv = "TRACBUS_CRASH_SECONDS"
)

// TestCrash lets processes write and relay to a Redis under Durable, and two others
// subscribe to it, while processes are killed and stopped, Redis is killed,
// stopped and paused, connections are cut or swallowed, and databases killed, stopped,
// filled, put to another time, and put back to a copy. Then it holds what came against the tables.
func TestCrash(t *testing.T) {
	if orders := os.Getenv(processEnv); orders != "" {
		runProcess(t, orders)
		return
	}
	rounds := record.Number(t, roundsEnv, 1)
	seconds := 5
	if testing.Short() {
		seconds = 3
	}
	duration := time.Duration(record.Number(t, secondsEnv, seconds)) * time.Second
	for at, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			database := d.open(t)
			var totals totals
			for n := range rounds {
				kind := kindOf(n, at)
				database.mood = moodOf(n, at)
				t.Run(fmt.Sprintf("%d %s, %s", n+1, kind, database.mood), func(t *testing.T) {
					r := newRig(t, database, kind.redisArgs()...)
					defer func() { totals.add(r.totals) }()
					v := check(r.round(kind, duration))
					r.count(v)
					t.Logf("%s; the stream has %d of them, its subscriber received %d, the pub/sub subscriber %d, the listener was told %d\n%v",
						r.totals, count(v.stream, entryWord), count(v.read, entryWord), count(v.heard, heardWord), count(v.told, toldWord), v)
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

// count counts the lines of one word.
func count(lines []note, word word) (n int) {
	for _, l := range lines {
		if l.Word == word {
			n++
		}
	}
	return n
}

// judge looks at what the checker is not about: what Update returned, and that
// enough happened.
func (r *rig) judge(v *verdict) {
	runs := r.outcomes()
	outcomes := &record.Verdict{Truth: v.truth}
	for _, run := range runs {
		for _, l := range run.With(record.Fault) {
			if v.gone != nil && strings.HasPrefix(l.Result, staleFor) {
				r.t.Logf("%s, after the database was put back: %s", run.Name, l.Result) // it is loaded when that is noticed
				continue
			}
			r.t.Errorf("%s: %s", run.Name, l.Result)
		}
		if v.gone == nil { // in which commits are lost
			outcomes.CheckOutcomes(run)
		}
	}
	r.totals.wrong = len(outcomes.Told)
	if len(outcomes.Told) > 0 {
		r.t.Errorf("Update returned what did not happen: %s", outcomes)
	}
	if len(v.truth.Changes) < 10 || r.totals.kills+r.totals.stops+r.totals.cuts+r.totals.holes+r.totals.sessionKills == 0 {
		r.t.Errorf("too little happened for this to be a campaign: %v", r.totals)
	}
}
