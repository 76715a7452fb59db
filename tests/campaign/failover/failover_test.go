// Package failover_test has Redis fail over, in all the ways in which it does, while
// processes publish and subscribe, and holds what came against the tables.
package failover_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// The variables that say how long a failover campaign is: how many rounds on each
// topology, each with the next fault; and a word that is in the names of the faults
// that are wanted.
const (
	roundsEnv = "TRACBUS_FAILOVER_ROUNDS"
	faultEnv  = "TRACBUS_FAILOVER_FAULT"
)

// TestFailover has a durable and a primary publisher publish, and four subscribers and
// a reader of the stream follow, while the server that they use fails. Nothing may be
// lost or change its order in the stream; a subscriber to channels may miss what it is
// told of. How long each was away is printed, beside how long Redis itself was.
func TestFailover(t *testing.T) {
	if orders := os.Getenv(processEnv); orders != "" {
		runProcess(t, orders)
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, topology := range everywhere {
		t.Run(topology, func(t *testing.T) {
			var kinds []fault
			for _, f := range faults {
				wanted := os.Getenv(faultEnv)
				long := wanted != "" || os.Getenv(roundsEnv) != ""
				if slices.Contains(f.on, topology) && strings.Contains(f.name, wanted) && (long || slices.Contains(f.short, topology)) {
					kinds = append(kinds, f)
				}
			}
			if len(kinds) == 0 {
				t.Skip("no such fault here")
			}
			for n := range record.Number(t, roundsEnv, len(kinds)) {
				f := kinds[n%len(kinds)]
				t.Run(fmt.Sprintf("%d %s", n+1, f.name), func(t *testing.T) {
					testkit.NoLeaks(t)
					r := newRig(t, topology, f, program)
					v := check(r.round())
					t.Log(r.report(v))
					if len(v.found) > 0 {
						t.Error("not all is as it should be: see above")
					}
				})
			}
		})
	}
}

// report tells of a round: what was found, and the times.
func (r *rig) report(v *verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v\n", r.fault.name, v)
	for _, remark := range r.remarks {
		fmt.Fprintf(&b, "  %s\n", remark)
	}
	ratio := func(d time.Duration) string {
		if v.outage == 0 {
			return fmt.Sprintf("%.1f s", d.Seconds())
		}
		return fmt.Sprintf("%.1f s = %.1f times", d.Seconds(), d.Seconds()/v.outage.Seconds())
	}
	fmt.Fprintf(&b, "  Redis away %.1f s", v.outage.Seconds())
	if agreed := r.agreed(); agreed > 0 {
		fmt.Fprintf(&b, ", all agree after %.1f s", agreed.Seconds())
	}
	b.WriteString("\n")
	for _, writer := range writers {
		lines, foreign := r.lines(writer)
		fmt.Fprintf(&b, "  %s publisher: %d changes, silent %s; %d lines, %d of go-redis\n",
			writer, len(v.commits[writer]), ratio(v.silence(writer)), lines, foreign)
	}
	for _, ear := range sortedKeys(v.heard) {
		fmt.Fprintf(&b, "  %s: deaf %s, missed %d, %d Resyncs, told %.1f s after a loss, back %.1f s after the agreement\n", ear,
			ratio(v.deafness(v.heard[ear])), v.missed[ear], v.resyncs[ear], v.tardy[ear].Seconds(), r.back(v.heard[ear]).Seconds())
	}
	fmt.Fprintf(&b, "  reader: deaf %s", ratio(v.deafness(v.read)))
	for text, n := range texts(v) {
		fmt.Fprintf(&b, "\n  %d × %s", n, text)
	}
	return b.String()
}

// texts counts what subscribers were told of errors.
func texts(v *verdict) map[string]int {
	count := map[string]int{}
	for _, notes := range append([][]note{v.read}, sortedValues(v.heard)...) {
		for _, n := range notes {
			if n.Word == lossWord || n.Word == errorWord {
				count[n.Text]++
			}
		}
	}
	return count
}

func sortedValues(m map[string][]note) (all [][]note) {
	for _, k := range sortedKeys(m) {
		all = append(all, m[k])
	}
	return all
}

// agreed returns how long after the fault all who know name another server, or the
// same again; zero if they always did.
func (r *rig) agreed() time.Duration {
	_, agreed := r.observer.history()
	for _, n := range agreed {
		if n.from.After(r.struck) {
			return n.from.Sub(r.struck)
		}
	}
	return 0
}

// back returns how long after the agreement a subscriber was told that it is back.
func (r *rig) back(notes []note) time.Duration {
	agreed := r.agreed()
	if agreed == 0 {
		return 0
	}
	for _, n := range notes {
		if n.Word == resyncWord && n.time().After(r.struck) {
			return n.time().Sub(r.struck.Add(agreed))
		}
	}
	return 0
}
