package pages_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/pages"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
)

// The environment variables that make the test program a process with an InterMap.
const (
	interMapDatabase = "TRACBUS_INTERMAP_DATABASE"
	interMapRedis    = "TRACBUS_INTERMAP_REDIS"
)

// interMapSeen is the line in which it says what its pages.InterMap answers, and since
// when.
const interMapSeen = "intermap %s %d\n"

// reportingInterMap says what it answers after each change.
type reportingInterMap struct{ *pages.InterMap }

func (m reportingInterMap) Load(ctx context.Context, s *tracbus.Snapshot) error {
	err := m.InterMap.Load(ctx, s)
	m.report()
	return err
}

func (m reportingInterMap) WikiPageChanged(ctx context.Context, e tracbus.WikiPageChanged) error {
	err := m.InterMap.WikiPageChanged(ctx, e)
	m.report()
	return err
}

func (m reportingInterMap) report() {
	url, _, _ := m.Expand("PEP", "8")
	fmt.Printf(interMapSeen, url, time.Now().UnixNano())
}

// TestInterMapProcess is a tracker's second process, where the variables say so:
// it ends when its input does.
func TestInterMapProcess(t *testing.T) {
	dsn := os.Getenv(interMapDatabase)
	if dsn == "" {
		return
	}
	db := (&testdatabase.Server{Dialect: "postgresql", Driver: "pgx"}).Open(t, dsn)
	bus, _ := followPostgres(t, db, os.Getenv(interMapRedis))
	bus.Wiki(tracbus.Everywhere, reportingInterMap{pages.NewInterMap(pages.InterMapConfig{})})
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// followPostgres runs a journal with the default settings until the test ends.
func followPostgres(t testing.TB, db *sql.DB, wake string) (*tracbus.Bus, *tracbus.Journal) {
	config := tracbus.JournalConfig{Dialect: tracbus.PostgreSQL, Logger: slog.New(slog.DiscardHandler)}
	if wake != "" {
		client := redis.NewClient(&redis.Options{Addr: wake})
		t.Cleanup(func() { assert.NoError(t, client.Close()) })
		config.Waker = tracbus.NewRedisWaker(client)
	}
	bus := tracbus.NewBus("test")
	journal, err := tracbus.OpenJournal(t.Context(), db, bus, config)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- journal.Run(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		assert.NoError(t, journal.Close(ctx))
		assert.NoError(t, <-ended)
		assert.NoError(t, bus.Close(ctx))
	})
	return bus, journal
}

// interMapPair is this process, which edits the page, and another.
type interMapPair struct {
	journal *tracbus.Journal
	edits   int
	answers <-chan interMapAnswer
}

type interMapAnswer struct {
	url string
	at  time.Time
}

// newInterMapPair starts a PostgreSQL, a second process and, if woken, a Redis by
// which they wake each other.
func newInterMapPair(t testing.TB, woken bool) *interMapPair {
	s := testdatabase.New(t, "postgresql")
	dsn, wake := s.DSN(s.Name()), ""
	if woken {
		wake = testserver.Redis(t, testserver.RedisOptions{}).Addr()
	}
	db := s.Open(t, dsn)
	for _, statement := range tracdatabase.Schema(tracbus.PostgreSQL) {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	_, journal := followPostgres(t, db, wake)
	p := &interMapPair{journal: journal}
	p.save(t)

	cmd := exec.Command(os.Args[0], "-test.run=^TestInterMapProcess$", "-test.count=1")
	cmd.Env = append(os.Environ(), interMapDatabase+"="+dsn, interMapRedis+"="+wake)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	answers := make(chan interMapAnswer, 100)
	p.answers = answers
	go func() {
		defer close(answers)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var a interMapAnswer
			var at int64
			if n, _ := fmt.Sscanf(lines.Text()+"\n", interMapSeen, &a.url, &at); n == 2 {
				a.at = time.Unix(0, at)
				answers <- a
			}
		}
	}()
	t.Cleanup(func() {
		assert.NoError(t, stdin.Close())
		for range answers { // until it has ended
		}
		assert.NoError(t, cmd.Wait())
	})
	p.seen(t)
	return p
}

// save edits the page, which from then on says of PEP what url returns.
func (p *interMapPair) save(t testing.TB) {
	p.edits++
	_, err := p.journal.Update(t.Context(), tracbus.Actor{Author: "joe"}, func(tx *tracbus.ModelTransaction) error {
		return tx.Save(t.Context(), trac.PageEdit{Name: "InterMapTxt", Text: new("----\nPEP " + p.url("$1"))})
	})
	require.NoError(t, err)
}

func (p *interMapPair) url(target string) string {
	return fmt.Sprintf("http://server/%d/%s", p.edits, target)
}

// seen returns when the other process first answered with the last edit.
func (p *interMapPair) seen(t testing.TB) time.Time {
	timeout := time.After(30 * time.Second)
	for {
		select {
		case a, ok := <-p.answers:
			require.True(t, ok, "the other process has ended")
			if a.url == p.url("8") {
				return a.at
			}
		case <-timeout:
			require.Fail(t, "the other process has not heard of the edit")
		}
	}
}

// TestInterMapAcrossProcesses edits the page in one process and asks another.
func TestInterMapAcrossProcesses(t *testing.T) {
	p := newInterMapPair(t, true)
	for range 3 {
		p.save(t)
		p.seen(t)
	}
}

// BenchmarkInterMapAcrossProcesses measures how long after an edit another
// process answers with it, both of them idle before: woken through Redis, or
// polling once a second. Give it -benchtime 100x.
func BenchmarkInterMapAcrossProcesses(b *testing.B) {
	for _, wakeUp := range []string{"redis", "poll"} {
		b.Run(wakeUp, func(b *testing.B) {
			p := newInterMapPair(b, wakeUp == "redis")
			var delays, commits []time.Duration
			for b.Loop() {
				// At any time between two polls, and not right after one, where
				// the last edit was seen.
				<-time.After(rand.N(time.Second))
				start := time.Now()
				p.save(b)
				committed := time.Now()
				delays = append(delays, p.seen(b).Sub(committed))
				commits = append(commits, committed.Sub(start))
			}
			slices.Sort(delays)
			slices.Sort(commits)
			ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
			b.ReportMetric(ms(delays[len(delays)/2]), "ms-median")
			b.ReportMetric(ms(delays[len(delays)*95/100]), "ms-p95")
			b.ReportMetric(ms(delays[len(delays)-1]), "ms-max")
			b.ReportMetric(ms(commits[len(commits)/2]), "ms-commit")
			b.ReportMetric(0, "ns/op")
		})
	}
}
