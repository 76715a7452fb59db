package contract

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/docprogram"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
	"github.com/tracbus/tracbus/trac/realms"
)

var update = flag.Bool("update", false, "write docs/asyncapi.yaml instead of comparing it")

var (
	root     = filepath.Join("..", "..")
	document = filepath.Join(root, "docs", "asyncapi.yaml")
)

// docs/asyncapi.yaml is what the event types and the encoder say now.
func TestAsyncAPI(t *testing.T) {
	testkit.NoLeaks(t)
	docprogram.NotCached(t)
	client := testkit.PatientClient(t, miniredis.RunT(t).Addr())
	due := time.Date(2020, 5, 1, 0, 0, 0, 0, time.UTC)
	later := tracbus.TicketChanged{ID: 17, New: tracbus.Fields{"due": due.AddDate(0, 1, 0)}, Old: tracbus.Fields{"due": due}}
	entries := appended(t, client, tracbus.PublisherConfig{}, append(Examples(), later))
	made, err := Document(root, entries)
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(document, made, 0o644))
	}
	committed, err := os.ReadFile(document)
	require.NoError(t, err)
	require.Empty(t, firstDifference(string(committed), string(made)),
		"docs/asyncapi.yaml is not what is sent now. If subscribers can take that: go test ./tests/contract -run TestAsyncAPI -update")
}

// everyOther is a Tracer by which every other commit has a trace.
type everyOther struct{ commits atomic.Int64 }

func (o *everyOther) Commit(ctx context.Context, _ string) (context.Context, tracbus.Trace, func(int64, error)) {
	var trace tracbus.Trace
	if o.commits.Add(1)%2 == 0 {
		trace = tracbus.Trace{Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", State: "rojo=1"}
	}
	return ctx, trace, func(int64, error) {}
}

func (*everyOther) Call(ctx context.Context, _ tracbus.ListenerCall) (context.Context, func(error)) {
	return ctx, func(error) {}
}

// firstDifference returns the first lines that differ, or nothing.
func firstDifference(committed, made string) string {
	want, got := strings.Split(committed, "\n"), strings.Split(made, "\n")
	for i := range max(len(want), len(got)) {
		part := func(lines []string) string { return strings.Join(lines[min(i, len(lines)):min(i+5, len(lines))], "\n") }
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			return fmt.Sprintf("from line %d, committed:\n%s\nmade now:\n%s", i+1, part(want), part(got))
		}
	}
	return ""
}

// streamKey is that of the stream of appended.
const streamKey = "trac:stream"

// appended records events in a journal, and returns the entries that its durable
// publisher appends to a stream.
func appended(t *testing.T, client redis.UniversalClient, config tracbus.PublisherConfig, events []tracbus.Event) (entries []map[string]any) {
	t.Helper()
	config.StreamKey, config.ExtraEvents, config.Logger = streamKey, true, testkit.Quiet
	publisher := tracbus.NewPublisher(client, config)
	t.Cleanup(publisher.Close)
	s := testdatabase.New(t, "sqlite")
	var published *tracbus.Registration
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{
		Bus:    tracbus.BusConfig{Tracer: new(everyOther)},
		Before: func(b *tracbus.Bus) { published = b.All(tracbus.Durable("redis"), publisher) },
		Journal: tracbus.JournalConfig{Realms: []tracbus.JournalRealm{
			trac.Tickets{}, tracbus.Pages{}, realms.Milestones{}, realms.Components{}, realms.Versions{}, realms.Attachments{}, tracbus.Resources("task"),
		}},
	})
	for _, e := range events {
		c := e.About()
		if c.Env == "myenv" {
			c.Env = "" // that of the desk's bus
		}
		_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			return tx.Record(testkit.Within(t), e.WithChange(c).(tracbus.Recordable))
		})
		require.NoError(t, err, "%T", e)
	}
	require.NoError(t, published.Wait(testkit.Within(t)))
	found, err := client.XRange(testkit.Within(t), streamKey, "-", "+").Result()
	require.NoError(t, err)
	require.Len(t, found, len(events))
	for _, e := range found {
		entries = append(entries, e.Values)
	}
	return entries
}
