package tracbus_test

import (
	"context"
	"os"
	"strings"
)

// settle lets all writers stop, and returns what the tables have when all who
// are told of changes have come to the end.
func (r *crashRig) settle() attackTruth {
	r.t.Helper()
	for process := range crashTrackers {
		r.processes[process].order("stop")
	}
	for process, writers := range r.writers {
		if writers > 0 {
			r.hear(process, "crash: stopped")
		}
	}
	waitForAttackEnd(r.t, r.db, r.database.dialect)
	r.eventually("the pub/sub subscriber is connected", func() bool {
		n, err := r.client.PubSubNumPat(context.Background()).Result()
		return err == nil && n > 0
	})
	r.write(crashRelays) // so that all hear the end
	truth := readAttackTruth(r.t, r.db, r.database.dialect)
	last := truth.changes[len(truth.changes)-1]
	for _, log := range []string{"heard.log", "read.log", "told.log"} {
		if log == "read.log" && r.plain {
			continue
		}
		r.eventually("the end is in "+log, func() bool {
			b, err := os.ReadFile(r.path(log))
			return err == nil && strings.Contains(string(b), `"`+last.by+`"`) && strings.HasSuffix(string(b), "\n")
		})
	}
	r.eventually("all names are done", func() bool { return r.watch.done(last.TID) })
	return truth
}

// finish ends all processes in order.
func (r *crashRig) finish() {
	r.t.Helper()
	r.finishing = true
	r.watch.close()
	for _, c := range r.processes {
		if c != nil {
			c.order("finish")
		}
	}
	for process, c := range r.processes {
		if c == nil {
			continue
		}
		r.hear(process, "nothing more")
		// One that was told to kill itself in a call may do so as late as this.
		if state := c.cmd.ProcessState; state != nil && !state.Success() && state.String() != "signal: killed" {
			r.t.Errorf("%s did not end in order: %s", c.name, state)
		}
	}
	for _, c := range r.all {
		b, err := os.ReadFile(r.path(c.name + ".err"))
		if err != nil {
			r.t.Error(err)
		}
		if strings.Contains(string(b), "DATA RACE") || strings.Contains(string(b), "panic") {
			r.t.Errorf("%s wrote\n%.4000s", c.name, b)
		}
	}
}

// readMarks returns the marks of all transactions.
func (r *crashRig) readMarks() map[int64]string {
	r.t.Helper()
	marks := map[int64]string{}
	var tid int64
	var mark string
	scan(r.t, r.db, "SELECT tid, mark FROM journal_transaction", func() { marks[tid] = mark }, &tid, &mark)
	return marks
}

// record collects what the tables and the logs tell.
func (r *crashRig) record(truth attackTruth) crashRecord {
	r.t.Helper()
	record := crashRecord{
		redis: redisKeeps, truth: truth, marks: r.readMarks(), cursors: r.watch.close(),
		heard: readCrashLog(r.t, r.path("heard.log")), told: readCrashLog(r.t, r.path("told.log")),
	}
	if !r.plain {
		record.read, record.stream = readCrashLog(r.t, r.path("read.log")), r.readStream()
	}
	return record
}

// readStream returns what Redis has in the stream.
func (r *crashRig) readStream() (lines []crashLine) {
	r.t.Helper()
	entries, err := r.client.XRange(context.Background(), crashStream, "-", "+").Result()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		text := func(field string) string { s, _ := e.Values[field].(string); return s }
		lines = append(lines, crashLine{Word: crashEntry, Run: "redis", ID: e.ID, Channel: text("channel"), Payload: text("payload"), Mark: text("mark")})
	}
	return lines
}

// count takes what was found into the totals.
func (r *crashRig) count(v *crashVerdict) {
	r.totals.transactions += len(v.truth.commits)
	r.totals.changes += len(v.truth.changes)
	r.totals.lost += v.counts[crashLost]
	r.totals.twice += v.counts[crashTwice]
	r.totals.late += v.counts[crashLate]
	r.totals.repeated += v.repeated
}

// outcomes returns what Update returned, of all trackers.
func (r *crashRig) outcomes() (runs []attackRun) {
	for _, c := range r.all {
		if strings.HasPrefix(c.name, "p") {
			runs = append(runs, readAttackRun(r.t, c.name, r.path(c.name+".log"), c.killed))
		}
	}
	return runs
}
