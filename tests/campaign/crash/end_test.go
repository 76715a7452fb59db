package crash_test

import (
	"context"
	"os"
	"strings"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// settle lets all writers stop, and returns what the tables have when all who
// are told of changes have come to the end.
func (r *rig) settle() record.Truth {
	r.t.Helper()
	for process := range trackers {
		r.processes[process].Order("stop")
	}
	for process, writers := range r.writers {
		if writers > 0 {
			r.hear(process, "crash: stopped")
		}
	}
	record.WaitForEnd(r.t, r.db, r.database.dialect)
	r.eventually("the pub/sub subscriber is connected", func() bool {
		n, err := r.client.PubSubNumPat(context.Background()).Result()
		return err == nil && n > 0
	})
	r.write(relays) // so that all hear the end
	truth := record.ReadTruth(r.t, r.db, r.database.dialect)
	last := truth.Changes[len(truth.Changes)-1]
	for _, log := range []string{"heard.log", "read.log", "told.log"} {
		if log == "read.log" && r.plain {
			continue
		}
		r.eventually("the end is in "+log, func() bool {
			b, err := os.ReadFile(r.path(log))
			return err == nil && strings.Contains(string(b), `"`+last.By+`"`) && strings.HasSuffix(string(b), "\n")
		})
	}
	r.eventually("all names are done", func() bool { return r.watch.done(last.TID) })
	return truth
}

// finish ends all processes in order.
func (r *rig) finish() {
	r.t.Helper()
	r.finishing = true
	r.watch.close()
	for _, c := range r.processes {
		if c != nil {
			c.Order("finish")
		}
	}
	for process, c := range r.processes {
		if c == nil {
			continue
		}
		r.hear(process, "nothing more")
		// One that was told to kill itself in a call may do so as late as this.
		if state := c.Cmd.ProcessState; state != nil && !state.Success() && state.String() != "signal: killed" {
			r.t.Errorf("%s did not end in order: %s", c.Name, state)
		}
	}
	for _, c := range r.all {
		b, err := os.ReadFile(r.path(c.Name + ".err"))
		if err != nil {
			r.t.Error(err)
		}
		if strings.Contains(string(b), "DATA RACE") || strings.Contains(string(b), "panic") {
			r.t.Errorf("%s wrote\n%.4000s", c.Name, b)
		}
	}
}

// readMarks returns the marks of all transactions.
func (r *rig) readMarks() map[int64]string {
	r.t.Helper()
	marks := map[int64]string{}
	var tid int64
	var mark string
	testkit.Scan(r.t, r.db, "SELECT tid, commit_id FROM journal_change", func() { marks[tid] = mark }, &tid, &mark)
	return marks
}

// record collects what the tables and the logs tell.
func (r *rig) record(truth record.Truth) history {
	r.t.Helper()
	record := history{
		redis: redisKeeps, truth: truth, marks: r.readMarks(), cursors: r.watch.close(),
		heard: readLog(r.t, r.path("heard.log")), told: readLog(r.t, r.path("told.log")),
	}
	if !r.plain {
		record.read, record.stream = readLog(r.t, r.path("read.log")), r.readStream()
	}
	return record
}

// readStream returns what Redis has in the stream.
func (r *rig) readStream() (lines []note) {
	r.t.Helper()
	entries, err := r.client.XRange(context.Background(), streamKey, "-", "+").Result()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		text := func(field string) string { s, _ := e.Values[field].(string); return s }
		lines = append(lines, note{Word: entryWord, Run: "redis", ID: e.ID, Channel: text("channel"), Payload: text("payload"), Mark: text("mark")})
	}
	return lines
}

// count takes what was found into the totals.
func (r *rig) count(v *verdict) {
	r.totals.transactions += len(v.truth.Commits)
	r.totals.changes += len(v.truth.Changes)
	r.totals.lost += v.counts[isLost]
	r.totals.twice += v.counts[isTwice]
	r.totals.late += v.counts[isLate]
	r.totals.repeated += v.repeated
}

// outcomes returns what Update returned, of all trackers.
func (r *rig) outcomes() (runs []record.Run) {
	for _, c := range r.all {
		if strings.HasPrefix(c.Name, "p") {
			runs = append(runs, record.ReadRun(r.t, c.Name, r.path(c.Name+".log"), c.Killed))
		}
	}
	return runs
}
