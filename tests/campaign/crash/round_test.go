package crash_test

import (
	"context"
	"slices"
	"time"

	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// kind is what happens in a round beside all the rest.
type kind string

const (
	strictRound  kind = "strict"           // Redis keeps all
	restoreRound kind = "database restore" // the same, and the database is put back while nothing else is wrong
	olderRound   kind = "older redis"      // Redis comes back as it was at its last SAVE
	emptyRound   kind = "emptied redis"    // Redis comes back empty
	roughRound   kind = "rough restore"    // the database is put back in the midst of faults
)

// kindOf returns the kind of a round: of two rounds, one is a restore; of
// three, Redis forgets something in the third, on some databases all.
func kindOf(round, database int) kind {
	kinds := []kind{strictRound, restoreRound, olderRound, emptyRound, roughRound}
	if database%2 == 0 {
		kinds[2], kinds[3] = kinds[3], kinds[2]
	}
	return kinds[round%len(kinds)]
}

// redisArgs are those of a round's Redis.
func (k kind) redisArgs() []string {
	switch k {
	case olderRound, emptyRound:
		return nil
	}
	return []string{"--appendonly", "yes", "--appendfsync", "always"}
}

// round is a round in progress.
type round struct {
	*rig
	kind  kind
	plan  []func()
	later []later
	saved bool // Redis has something to come back with
	at    time.Duration

	duration time.Duration // of its faults

	restore func()
	record  history
}

type later struct {
	at time.Time
	do func()
}

// round lets everything suffer for a time, and returns what became of it.
func (r *rig) round(kind kind, duration time.Duration) history {
	r.t.Helper()
	c := &round{rig: r, kind: kind, duration: duration}
	for i := range r.writers {
		r.writers[i] = 1
		if i >= relays {
			r.writers[i] = 4
		}
	}
	r.startAll()
	c.suffer(duration)
	r.calm()
	truth := r.settle()
	record := r.record(truth)
	r.finish()
	record.gone, record.goneMarks, record.kept, record.survivors = c.record.gone, c.record.goneMarks, c.record.kept, c.record.survivors
	switch kind {
	case olderRound:
		record.redis = redisGoesTo
	case emptyRound:
		record.redis = redisEmptied
	}
	return record
}

// suffer does one fault after the other, and ends them all. What has its own time
// in a round is not counted.
func (c *round) suffer(duration time.Duration) {
	c.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	next := time.Duration(0)
	for begin := time.Now(); c.at < duration; {
		<-tick.C
		c.at = time.Since(begin)
		c.attend(false)
		c.relieve(false)
		begin = begin.Add(c.milestones(duration))
		if c.at >= next {
			next = c.at + duration/50 + time.Duration(c.random.Int64N(int64(duration/25)))
			c.fault()
		}
	}
	c.relieve(true)
	for _, p := range slices.Concat(c.links[:], c.proxies[:]) {
		if p != nil {
			p.CutAfter(1 << 40) // which it will not reach, in place of one that it may
		}
	}
}

// relieve ends the faults that are to end by now, or all.
func (c *round) relieve(all bool) {
	c.later = slices.DeleteFunc(c.later, func(l later) bool {
		if all || time.Now().After(l.at) {
			l.do()
			return true
		}
		return false
	})
}

func (c *round) after(d time.Duration, do func()) {
	c.later = append(c.later, later{time.Now().Add(d), do})
}

// milestones does what has its time in a round: the copy of the database, its
// return, what Redis saves. It returns how long that took.
func (c *round) milestones(duration time.Duration) time.Duration {
	begin := time.Now()
	switch {
	case (c.kind == restoreRound || c.kind == roughRound) && c.restore == nil && c.record.gone == nil && c.at > duration*3/10:
		c.relieve(true)
		c.restore = c.backUp()
	case c.restore != nil && c.at > duration*7/10:
		c.goBack()
	case c.kind == olderRound && !c.saved && c.at > duration*3/10 || c.kind == emptyRound && !c.saved && c.at > duration*4/10:
		c.relieve(true)
		if c.kind == olderRound {
			if err := c.client.Save(context.Background()).Err(); err != nil {
				c.t.Errorf("save: %v", err)
			}
		}
		c.saved = true
	case c.totals.redisRestarts == 0 && c.at > duration*6/10:
		c.killRedis()
	}
	return time.Since(begin)
}

// goBack puts the database back when Redis knows of something that is no more
// then.
func (c *round) goBack() {
	c.t.Helper()
	c.relieve(true)
	c.attend(true)
	copied := c.watch.at("redis").tid
	c.eventually("Redis gets ahead of the copy", func() bool {
		c.attend(false)
		return c.watch.at("redis").tid > copied
	})
	gentle := c.kind == restoreRound && c.database.server != nil // on SQLite nobody lives through it
	if gentle {
		// All relays have looked at the names, and each knows of what will be gone.
		c.calm()
		record.Sleep(context.Background(), leaseFor)
	}
	for _, p := range c.processes[:trackers] { // so that what a snapshot shows is ahead of what is followed
		p.Order("load")
	}
	gone, marks, kept := c.putBack(c.restore)
	c.restore = nil
	c.record.gone, c.record.goneMarks, c.record.kept, c.record.survivors = &gone, marks, kept, gentle
	if gentle {
		c.eventually("a listener under Durable is told that the history went back", func() bool {
			return slices.ContainsFunc(readLog(c.t, c.path("told.log")), func(l note) bool { return l.Word == resyncWord })
		})
	}
}

// fault does the next fault of the plan: each kind comes once before one comes
// again.
func (c *round) fault() {
	if len(c.plan) == 0 {
		shuffled := func(faults []func()) []func() {
			c.random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
			return faults
		}
		c.plan = append(shuffled(c.databaseFaults()), shuffled(c.faults())...) // a short round has the rarer ones too
	}
	fault := c.plan[0]
	c.plan = c.plan[1:]
	fault()
}

func (c *round) faults() []func() {
	relay := func() int { return c.random.IntN(relays) }
	writer := func() int { return relays + c.random.IntN(writersOnly) }
	tracker := func() int { return c.random.IntN(trackers) }
	reader := func() int {
		if c.plain {
			return relay()
		}
		return readerAt
	}
	kill := func(who func() int) func() { return func() { c.kill(who()) } }
	stop := func(who func() int) func() {
		return func() {
			if process := who(); len(c.stopped) < 2 && c.stopped[c.processes[process]].IsZero() {
				c.stopFor(process, stopTime(c.random))
			}
		}
	}
	trick := func(name string, trick trick) func() { // by whoever has the turn
		return func() {
			if h := c.watch.holder(name); h.pid != 0 {
				for _, relay := range c.processes[:relays] {
					if relay.Cmd.Process.Pid == h.pid {
						relay.Order("trick " + string(trick))
					}
				}
			}
		}
	}
	faults := []func(){
		kill(relay), kill(relay), kill(writer), kill(reader), stop(relay), stop(relay), stop(writer), stop(reader),
		trick("log", dieBeforeCall), trick("log", dieInCall), trick("log", stopInCall),
		trick("redis", dieAfterScript), trick("redis", dieAfterScript),
		func() { c.cut(c.links[relay()]) }, func() { c.cut(c.links[relay()]) },
		c.killRedis, c.stopRedis, c.pauseRedis,
	}
	if c.database.server != nil {
		faults = append(faults, func() { c.cut(c.proxies[tracker()]) }, func() { c.cut(c.proxies[relay()]) }, func() {
			c.relieve(true)
			c.killDatabase()
		})
	}
	return faults
}

// cut cuts connections in one of the ways in which networks do.
func (c *round) cut(p *testserver.TCPProxy) {
	c.totals.cuts++
	if end := record.Cut(c.random, p); end != nil {
		c.after(100*time.Millisecond, end)
	}
}

// killRedis lets Redis be away for a moment.
func (c *round) killRedis() {
	if (c.kind == olderRound || c.kind == emptyRound) && !c.saved {
		return // it would have nothing to forget
	}
	c.relieve(true) // it may be stopped
	c.redis.Kill()
	c.totals.redisRestarts++
	c.after(time.Duration(c.random.Int64N(int64(400*time.Millisecond))), c.redis.Restart)
}

func (c *round) stopRedis() {
	c.relieve(true)
	c.redis.Stop()
	c.totals.redisPauses++
	c.after(time.Duration(c.random.Int64N(int64(2*time.Second))), c.redis.Continue)
}

func (c *round) pauseRedis() {
	c.relieve(true)
	if c.client.Do(context.Background(), "CLIENT", "PAUSE", 100+c.random.IntN(900), "ALL").Err() == nil {
		c.totals.redisPauses++
	}
}

func (c *round) killDatabase() {
	c.database.server.Kill()
	c.totals.databaseRestarts++
	c.database.server.Restart()
}
