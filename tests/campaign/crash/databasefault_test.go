package crash_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
)

func replaceName(text, name string) string { return strings.ReplaceAll(text, "NAME", name) }

// databaseFaults are what is done to the database, and to its connections, beside
// ending it.
func (c *round) databaseFaults() (faults []func()) {
	faults = append(faults, c.stepClock)
	if c.database.server != nil {
		faults = append(faults, c.stopDatabase, c.swallow, c.swallow, c.fillDisk,
			func() { c.killSessions(false) }, func() { c.killSessions(false) }, func() { c.killSessions(true) })
	}
	return faults
}

// most is for how long a fault lasts at most in a round: some seconds, and less if the
// round is short.
func (c *round) most(d time.Duration) time.Duration { return min(d, c.duration/3) }

// stopDatabase lets nobody be answered for up to 5 s.
func (c *round) stopDatabase() {
	c.relieve(true)
	c.database.server.Stop()
	c.totals.databaseStops++
	c.after(time.Duration(c.random.Int64N(int64(c.most(5*time.Second)))), c.database.server.Continue)
}

// swallow makes black holes of a process's connections to the database. The server
// learns of it in the end, as by its keepalive.
func (c *round) swallow() {
	p := c.proxies[c.random.IntN(trackers)]
	p.Swallow()
	c.totals.holes++
	c.after(time.Duration(c.random.Int64N(int64(c.most(20*time.Second)))), func() {
		p.Cut()
		p.Resume()
	})
}

// sessions list those of the processes.
var sessions = map[tracbus.Dialect]string{
	tracbus.PostgreSQL: "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
	tracbus.MySQL:      "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()",
}

// killSessions kills what sessions do, or the sessions, a few hundred in a burst of
// some milliseconds: few are hit in the midst of something.
func (c *round) killSessions(ends bool) {
	ctx, cancel := context.WithTimeout(context.Background(), c.most(time.Second))
	defer cancel()
	texts := map[tracbus.Dialect][2]string{
		tracbus.PostgreSQL: {"SELECT pg_cancel_backend(%d)", "SELECT pg_terminate_backend(%d)"},
		tracbus.MySQL:      {"KILL QUERY %d", "KILL CONNECTION %d"},
	}[c.database.dialect]
	text, rounds := texts[0], 10
	if ends {
		text, rounds = texts[1], 1
	}
	for range rounds {
		var ids []int64
		rows, err := c.db.QueryContext(ctx, sessions[c.database.dialect])
		if err != nil {
			return // it is away
		}
		for rows.Next() {
			var id int64
			if rows.Scan(&id) == nil {
				ids = append(ids, id)
			}
		}
		_ = rows.Close()
		for _, id := range ids {
			if ends && c.random.IntN(4) > 0 {
				continue
			}
			if _, err := c.db.ExecContext(ctx, fmt.Sprintf(text, id)); err == nil { // else it is gone
				c.totals.sessionKills++
			}
		}
	}
}

// stepClock puts the database's clock back or forward by some minutes, as far as it can
// be seen: leases are all that the library measures by it, and this moves what is stored
// of them the other way.
func (c *round) stepClock() {
	ctx, cancel := context.WithTimeout(context.Background(), c.most(time.Second))
	defer cancel()
	by := c.random.Int64N(int64(10*time.Minute)) - int64(5*time.Minute)
	text := fmt.Sprintf("UPDATE journal_consumer SET expires = expires + %[1]d, leased_at = leased_at + %[1]d WHERE holder <> ''", by/int64(time.Microsecond))
	if _, err := c.db.ExecContext(ctx, text); err == nil { // else it is away
		c.totals.clockSteps++
	}
}

// fillDisk lets a server write no file any more that is longer than a few pages, as a
// disk that is full does: it fails, or ends, and is started again when there is room.
func (c *round) fillDisk() {
	c.relieve(true)
	if c.database.server.LimitFiles(64<<10) != nil {
		return // this machine does not let us
	}
	c.totals.fullDisks++
	c.after(time.Duration(c.random.Int64N(int64(c.most(time.Second)))), func() {
		_ = c.database.server.LimitFiles(0) // it may be gone
		c.killDatabase()
	})
}
