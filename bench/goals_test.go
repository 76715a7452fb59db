package bench_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tracbus/tracbus/bench/contest"
)

// goal is a line of the table of goals: what was wanted, and where it is measured.
type goal struct {
	work, before, want string
	title, way         string
	to                 string // the way that it is a ratio of, "" if it is shown as it is
	at                 []int  // points, in turn; none: the contest has none
	unit               int
	grows              bool // the last point as a multiple of the first
}

// goals are those that the library was made faster for. What was before is of another
// machine and day: read it as a rough place to have come from.
func goals() []goal {
	list := []goal{}
	commit := func(dialect, before, want string) {
		list = append(list, goal{work: "a commit, compared with an outbox by hand, " + dialect + ", 1 / 8 / 32 writers", before: before, want: want,
			title: "A commit: " + dialect, way: "Record", to: "outbox", at: writers})
		list = append(list, goal{work: "the same with Run and a listener, compared with Record alone, " + dialect, before: "0.73 to 0.86", want: "0.95",
			title: "A commit: " + dialect, way: "Record, with Run and a listener", to: "Record", at: writers})
	}
	commit("PostgreSQL", "0.60 / 0.60 / 0.54", "0.90 / 0.90 / 0.90")
	list = append(list, goal{work: "a pgx.Tx with CommitWith, compared with an outbox by hand over package sql, 1 / 8 / 32 writers", before: "–", want: "1.2 / 1.2 / 1.2",
		title: "A commit: PostgreSQL", way: "a pgx.Tx, CommitWith", to: "outbox", at: writers})
	commit("SQLite", "0.63 / 0.66 / 0.61", "1.0 / 2.0 / 3.0")
	commit("MariaDB", "0.63 / 0.39 / 0.33", "0.90 / 0.90 / 0.90")
	for _, d := range [][2]string{{"PostgreSQL", "0.73 / 0.65 / 0.48"}, {"SQLite", "0.60 / 0.63 / 0.64"}, {"MariaDB", "0.67 / 0.53 / 0.48"}} {
		list = append(list, goal{work: "a TicketEdit, compared with the same rows and an outbox, " + d[0], before: d[1], want: "0.90",
			title: "A commit to Trac's ticket: " + d[0], way: "TicketEdit", to: "outbox", at: writers})
	}
	for _, d := range [][3]string{{"PostgreSQL", "0.20 / 0.02", "0.51"}, {"SQLite", "0.73 / 0.36", "0.76"}, {"MariaDB", "0.25 / 0.07", "0.43"}} {
		list = append(list,
			goal{work: "commits with 10 / 50 durable consumers, compared with none, " + d[0], before: d[1], want: "0.85 / 0.70",
				title: "Commits with durable consumers: " + d[0], way: "durable consumers", to: "no consumer", at: []int{10, 50}},
			goal{work: "changes that each of 50 durable consumers was behind when the writer stopped, " + d[0], before: "–", want: "–",
				title: "Commits with durable consumers: " + d[0], way: "durable consumers", at: []int{50}, unit: 2},
			goal{work: "commits with 8 processes that follow, compared with one, " + d[0], before: d[2], want: "0.90",
				title: "Commits with other processes that follow: " + d[0], way: "more processes", to: "one process", at: []int{8}})
	}
	delay := func(dialect, way, before50, want50, before99, want99 string) {
		for unit, g := range []goal{{work: "median", before: before50, want: want50}, {work: "99th percentile", before: before99, want: want99}} {
			g.work = fmt.Sprintf("from a commit to a listener elsewhere, %s, %s of ms, %s", way, g.work, dialect)
			g.title, g.way, g.unit = "From a commit to a listener elsewhere: "+dialect, way, unit
			list = append(list, g)
		}
	}
	for _, d := range [][5]string{{"PostgreSQL", "5.3", "12", "846"}, {"SQLite", "2.9", "9.8", "3.6"}, {"MariaDB", "5.3", "17", "211"}} {
		delay(d[0], "woken through Redis", d[1], "1.0", d[2], "3.0")
		delay(d[0], "by the poll that is the default", d[3], "–", "–", "100")
	}
	delay("PostgreSQL", "woken by LISTEN and NOTIFY", "–", "1.0", "–", "3.0")
	list = append(list, goal{work: "commits of 32 writers while processes wake each other by LISTEN and NOTIFY, compared with polls", before: "–", want: "0.97",
		title: "Commits of processes that wake each other: PostgreSQL", way: "LISTEN and NOTIFY", to: polled, at: []int{32}})
	list = append(list,
		goal{work: "statements of a TicketEdit with a durable consumer, with BEGIN and COMMIT, PostgreSQL", before: "20", want: "13",
			title: "What a change costs the database: PostgreSQL", way: "TicketEdit, and a durable consumer of the process", unit: 1},
		goal{work: "Notify with 1 / 10 listeners, ns", before: "2,700 / 3,590", want: "600 / 1,500", title: "Notify", way: "Notify", at: []int{1, 10}},
		goal{work: "Notify with one listener, allocations", before: "9", want: "2", title: "Notify", way: "Notify", at: []int{1}, unit: 1},
		goal{work: "a publisher of changed values, compared with a pipeline of ready bytes", before: "0.88", want: "0.95",
			title: "Publishing on Redis, changed values", way: "a publisher, of events that wait", to: "a pipeline of 256 by hand"},
		goal{work: "a publisher of all values, compared with a pipeline of ready bytes", before: "0.50", want: "0.80",
			title: "Publishing on Redis, all values", way: "a publisher, of events that wait", to: "a pipeline of 256 by hand"},
		goal{work: "memory of an idle process, MB", before: "–", want: "25", title: "Memory", way: "a process that is idle"},
		goal{work: "memory of a process with a backlog of a million, MB", before: "–", want: "45", title: "Memory", way: "a process with a backlog of a million"},
	)
	for _, dialect := range []string{"PostgreSQL", "SQLite", "MariaDB"} {
		before := map[string]string{"PostgreSQL": "1,080"}[dialect]
		list = append(list, goal{work: "bytes on disk of a change of a ticket with fifteen fields, " + dialect, before: cmp.Or(before, "–"), want: "600",
			title: "What a change costs the database: " + dialect, way: "a change of the journal"})
		list = append(list, goal{work: "relay of a backlog, changes/s, " + dialect, before: "63,000 to 100,000", want: "not less",
			title: "Relay of a backlog: " + dialect, way: "a durable publisher"})
		for _, w := range [][2]string{{"commit", "–"}, {"Prune of 1,000", "1.3"}, {"Since, 100 changes", "1.2"}, {"History, 100 changes", "1.2"}, {"Status", "1.2"}, {"open", "1.2"}} {
			way, want := w[0], w[1]
			before := map[string]string{
				"commitPostgreSQL": "1.1", "Prune of 1,000PostgreSQL": "7", "Prune of 1,000SQLite": "30", "Since, 100 changesPostgreSQL": "1.6",
				"History, 100 changesPostgreSQL": "15, cold", "StatusPostgreSQL": "1.1",
			}[way+dialect]
			list = append(list, goal{work: way + " at 3 million changes, as a multiple of 10 thousand, " + dialect, before: cmp.Or(before, "–"), want: want,
				title: "A journal that grows: " + dialect, way: way, grows: true})
		}
	}
	return list
}

// check says what of a goal a comparison does not measure.
func (g goal) check(c *contest.Contest) error {
	for _, name := range []string{g.way, g.to} {
		if name != "" && !slices.ContainsFunc(c.Ways, func(w contest.Way) bool { return w.Name == name }) {
			return fmt.Errorf("%s: expected a way %q", c.Title, name)
		}
	}
	for _, at := range g.at {
		if !slices.Contains(c.At, at) {
			return fmt.Errorf("%s: expected it to be held at %d", c.Title, at)
		}
	}
	if g.unit >= len(c.Units) || g.at == nil && !g.grows && len(c.At) > 0 {
		return fmt.Errorf("%s: expected %d units, and points in the goal if it has any", c.Title, g.unit+1)
	}
	return nil
}

// now is what was measured.
func (g goal) now(r *contest.Result) string {
	if g.grows {
		first, ok1 := r.Figure(g.way, r.At[0], g.unit)
		last, ok2 := r.Figure(g.way, r.At[len(r.At)-1], g.unit)
		if !ok1 || !ok2 {
			return "–"
		}
		return fmt.Sprintf("%.2f", last.Median/first.Median)
	}
	at := g.at
	if at == nil {
		at = []int{0}
	}
	var all []string
	for _, point := range at {
		s, ok := r.Figure(g.way, point, g.unit)
		if g.to != "" {
			s, ok = r.Ratio(g.way, g.to, point, g.unit)
		}
		switch {
		case !ok:
			all = append(all, "–")
		case g.to != "":
			all = append(all, fmt.Sprintf("%.2f", s.Median))
		default:
			all = append(all, contest.Number(s.Median))
		}
	}
	return strings.Join(all, " / ")
}
