package embed_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/examples/embed/internal/clerk"
	"github.com/tracbus/tracbus/internal/docprogram"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/campaign/record"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// killsEnv is how often each of the two processes is killed, instead of 2.
const killsEnv = "TRACBUS_EMBED_KILLS"

// Two processes of each application are killed while they write. In the end the tables, the journal and
// the stream agree: each change that was committed is told once, with the values that it replaced, in
// the order in which its ticket was changed. What was rolled back is not told.
func TestKilled(t *testing.T) {
	docprogram.NotCached(t)
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			l, redis := work(t, p, "")
			assert.Empty(t, disagreements(t, l, p.dialect, redis))
		})
	}
}

// The checks above notice an application that commits in the way that it did before tracbus.
func TestKilledNoticesACommitWithoutTheJournal(t *testing.T) {
	docprogram.NotCached(t)
	p := programs[len(programs)-1]
	const was = "return session.Commit()"
	source := p.source(t)
	deleted := strings.Index(source, "deleted := tracbus")
	require.Positive(t, deleted)
	l, redis := work(t, p, source[:deleted]+was+"\n}\n")
	assert.NotEmpty(t, disagreements(t, l, p.dialect, redis))
}

// work runs two processes of a program, with another source if that is not empty, and kills them. When
// it returns, a third one has ended by itself, and published all that is in the journal.
func work(t *testing.T, p program, source string) (l *ledger, redis string) {
	t.Helper()
	testkit.NoLeaks(t)
	kills := record.Number(t, killsEnv, 2)
	binary := p.build(t, source)
	l = newLedger(t, testdatabase.New(t, p.dialect))
	redis = testserver.Redis(t, testserver.RedisOptions{}).Addr()
	begin := start(t, binary, l.dsn, redis, clerk.Idle) // makes the consumer, from which on all is published
	begin.end()

	running := [2]*process{start(t, binary, l.dsn, redis), start(t, binary, l.dsn, redis)}
	for n := range 2 * kills {
		i := n % 2
		running[i].changes(1 + rand.IntN(30))
		running[i].kill()
		if n < 2*kills-2 {
			running[i] = start(t, binary, l.dsn, redis)
		}
	}

	last := start(t, binary, l.dsn, redis, clerk.Idle)
	client := testkit.PatientClient(t, redis)
	journal := total(journaled(t, l, p.dialect))
	testkit.Until(t, "all is in the stream", func() bool {
		return client.XLen(t.Context(), "changes").Val() >= int64(journal)
	})
	last.end()
	t.Logf("%d changes committed, %d processes killed", l.count(), 2*kills)
	return l, redis
}

func total(all map[string][]string) (n int) {
	for _, lines := range all {
		n += len(lines)
	}
	return n
}

// disagreements returns what the journal, the stream and the tables do not say as the ledger does.
func disagreements(t *testing.T, l *ledger, dialect, redis string) (found testkit.Findings) {
	t.Helper()
	want := l.histories()
	for where, got := range map[string]map[string][]string{"journal": journaled(t, l, dialect), "stream": streamed(t, redis)} {
		for id := range merged(want, got) {
			if !slices.Equal(want[id], got[id]) {
				found.Add("%s: %s: expected %q, got %q", where, id, want[id], got[id])
			}
		}
	}
	titles := map[string]string{}
	for id, lines := range streamed(t, redis) {
		words := strings.Fields(lines[len(lines)-1])
		if words[0] != "deleted" {
			titles[id] = words[len(words)-1]
		}
	}
	if has := l.titles(); !maps.Equal(has, titles) {
		found.Add("the tables have %v, the stream %v", has, titles)
	}
	return found
}

// merged returns the resources of both.
func merged(a, b map[string][]string) map[string][]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
