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
		comparison{"Commits of processes that wake each other: PostgreSQL", 15, time.Second, waking},
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
	var report strings.Builder
	results := map[string]*contest.Result{}
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
			if where != "" {
				results[c.title] = r
			}
			picture := ""
			if of.Plot && where != "" {
				picture = "benchmarks/" + fileName(c.title) + ".svg"
				require.NoError(t, os.MkdirAll(filepath.Join(where, "benchmarks"), 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(where, picture), []byte(r.SVG()), 0o644))
			}
			section := r.Markdown(picture)
			t.Log("\n" + section)
			if where != "" {
				report.WriteString(section)
			}
		})
		if !held { // the others are not lost by it
			fmt.Fprintf(&report, "## %s\n\nThis comparison failed: it has no figures.\n\n", c.title)
		}
	}
	if where != "" && os.Getenv(onlyEnv) == "" {
		require.NoError(t, os.WriteFile(filepath.Join(where, "benchmarks.md"), []byte(preface(t.Context())+summary(results)+report.String()), 0o644))
	}
}

// fileName makes one of a title.
func fileName(title string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(title), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }), "-")
}

// preface says what was measured where.
func preface(ctx context.Context) string {
	return fmt.Sprintf(`# Benchmarks

%s wrote this page, on %s.

All ways of a table took turns on one private server with its default durability: read the
ratios, because the absolute figures are of this machine. A figure is the median of its
turns, with the least and the greatest.

`, "`TRACBUS_BENCH=../docs go test -count=1 -timeout 4h ./bench`", machine(ctx))
}
