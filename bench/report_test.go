package bench_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/bench/contest"
)

// The variables that say where the report goes, and which comparisons are wanted.
const (
	reportEnv = "TRACBUS_BENCH"
	onlyEnv   = "TRACBUS_BENCH_ONLY"
)

// comparison is one that is held when the ones before have ended: their servers are
// gone then.
type comparison struct {
	title  string
	rounds int           // of a report
	long   time.Duration // a turn of a report
	of     func(t *testing.T) *contest.Contest
}

// all are the comparisons, in the order of the report.
func all() (list []comparison) {
	for _, dialect := range []string{"postgresql", "sqlite", "mysql"} {
		list = append(list,
			comparison{"A commit: " + named[dialect], 5, 700 * time.Millisecond, func(t *testing.T) *contest.Contest { return commits(t, dialect) }},
			comparison{"A commit to Trac's ticket: " + named[dialect], 5, 700 * time.Millisecond, func(t *testing.T) *contest.Contest { return tracCommits(t, dialect) }},
			comparison{"Commits with durable consumers: " + named[dialect], 3, 1500 * time.Millisecond, func(t *testing.T) *contest.Contest { return namesUnder(t, dialect) }},
			comparison{"Commits with other processes that follow: " + named[dialect], 3, 1500 * time.Millisecond, func(t *testing.T) *contest.Contest { return followersOf(t, dialect) }},
			comparison{"From a commit to a listener elsewhere: " + named[dialect], 3, 4 * time.Second, func(t *testing.T) *contest.Contest { return delays(t, dialect) }},
			comparison{"Relay of a backlog: " + named[dialect], 3, time.Second, func(t *testing.T) *contest.Contest { return relays(t, dialect) }},
			comparison{"A journal that grows: " + named[dialect], 7, 200 * time.Millisecond, func(t *testing.T) *contest.Contest { return growth(t, dialect) }},
			comparison{"What a change costs the database: " + named[dialect], 1, time.Second, func(t *testing.T) *contest.Contest { return costs(t, dialect) }},
		)
	}
	return append(list,
		comparison{"Commits of processes that wake each other: PostgreSQL", 61, 250 * time.Millisecond, waking},
		comparison{"Memory", 1, time.Second, memory},
		comparison{"A message", 7, 200 * time.Millisecond, encoding},
		comparison{"Notify", 7, 300 * time.Millisecond, notifying},
		comparison{"Publishing on Redis, changed values", 5, 700 * time.Millisecond, func(t *testing.T) *contest.Contest { return publishing(t, false) }},
		comparison{"Publishing on Redis, all values", 5, 700 * time.Millisecond, func(t *testing.T) *contest.Contest { return publishing(t, true) }},
	)
}

// named are the databases as people write them.
var named = map[string]string{"postgresql": "PostgreSQL", "sqlite": "SQLite", "mysql": "MariaDB"}

// TestReport holds every comparison. It fails if a way does not do its job.
func TestReport(t *testing.T) {
	if orders := os.Getenv(followerEnv); orders != "" {
		runFollower(t, orders)
		return
	}
	where := os.Getenv(reportEnv)
	for _, g := range goals() {
		require.True(t, slices.ContainsFunc(all(), func(c comparison) bool { return c.title == g.title }), "no comparison is called %q", g.title)
	}
	var report page
	if where != "" {
		before, err := os.ReadFile(filepath.Join(where, "benchmarks.md"))
		require.True(t, err == nil || os.IsNotExist(err), "%v", err)
		report = readPage(string(before))
	}
	for _, c := range all() {
		if !strings.Contains(c.title, os.Getenv(onlyEnv)) {
			continue
		}
		held := t.Run(c.title, func(t *testing.T) {
			rounds, long := c.rounds, c.long
			of := c.of(t)
			of.Title = c.title
			for _, g := range goals() {
				if g.title == c.title {
					require.NoError(t, g.check(of))
				}
			}
			if where == "" { // only to see that all ways work
				t.Parallel()
				rounds, long, of.At = 1, time.Millisecond, of.At[:min(1, len(of.At))]
			}
			r, err := of.Hold(t.Context(), rounds, long)
			require.NoError(t, err)
			picture := ""
			if of.Plot && where != "" {
				picture = "benchmarks/" + fileName(c.title) + ".svg"
				require.NoError(t, os.MkdirAll(filepath.Join(where, "benchmarks"), 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(where, picture), []byte(r.SVG()), 0o644))
			}
			section := r.Markdown(picture)
			t.Log("\n" + section)
			if where == "" {
				return
			}
			report.sections[c.title] = section + measured(t.Context())
			for _, g := range goals() {
				if g.title == c.title {
					report.goals[g.work] = g.now(r)
				}
			}
		})
		if where == "" {
			continue
		}
		if !held { // the others are not lost by it
			report.sections[c.title] = fmt.Sprintf("## %s\n\nThis comparison failed: it has no figures.\n\n", c.title)
		}
		require.NoError(t, os.WriteFile(filepath.Join(where, "benchmarks.md"), []byte(report.write()), 0o644))
	}
}

// fileName makes one of a title.
func fileName(title string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(title), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }), "-")
}

// measured says when and where a comparison was held.
func measured(ctx context.Context) string {
	return fmt.Sprintf("Measured on %s, on %s.\n\n", time.Now().UTC().Format(time.DateOnly), machine(ctx))
}
