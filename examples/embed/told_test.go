package embed_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
)

// journaled returns what a journal says of each ticket and task, as the ledger's histories do.
func journaled(t *testing.T, l *ledger, dialect string) map[string][]string {
	t.Helper()
	ctx := t.Context()
	bus := tracbus.NewBus("reader")
	j, err := tracbus.OpenJournal(ctx, l.db, bus, tracbus.JournalConfig{Dialect: tracbus.Dialect(dialect), WriteOnly: true, Realms: []tracbus.JournalRealm{tracbus.Tickets{}, tracbus.Resources("task")}})
	require.NoError(t, err)
	defer func() {
		require.NoError(t, j.Close(ctx))
		require.NoError(t, bus.Close(ctx))
	}()
	all := map[string][]string{}
	add := func(e tracbus.Event, line string) {
		all[e.Resource().String()] = append(all[e.Resource().String()], line)
	}
	for e, err := range j.Since(ctx, 0) {
		require.NoError(t, err)
		switch e := e.(type) {
		case tracbus.TicketCreated:
			add(e, "created "+e.Values.Text("title"))
		case tracbus.TicketChanged:
			add(e, "changed "+e.Old.Text("title")+" to "+e.New.Text("title"))
		case tracbus.TicketDeleted:
			add(e, "deleted "+e.Values.Text("title"))
		case tracbus.ResourceCreated:
			add(e, "created "+e.Values.Text("title"))
		case tracbus.ResourceChanged:
			add(e, "changed "+e.Old.Text("title")+" to "+e.New.Text("title"))
		default:
			t.Errorf("an event that nobody recorded: %v", e)
		}
	}
	return all
}

// streamed returns what a stream says of each ticket and task, as it is in Redis.
func streamed(t *testing.T, addr string) map[string][]string {
	t.Helper()
	client := testkit.PatientClient(t, addr)
	entries, err := client.XRange(t.Context(), "changes", "-", "+").Result()
	require.NoError(t, err)
	all := map[string][]string{}
	for _, entry := range entries {
		resource, line := told(t, entry)
		all[resource] = append(all[resource], line)
	}
	return all
}

// told reads an entry without the library.
func told(t *testing.T, entry redis.XMessage) (resource, line string) {
	t.Helper()
	var m struct {
		Realm     string
		ID        any
		Title     string
		Values    struct{ Title string }
		NewValues struct{ Title string } `json:"new_values"`
		OldValues struct{ Title string } `json:"old_values"`
	}
	channel, payload := fmt.Sprint(entry.Values["channel"]), fmt.Sprint(entry.Values["payload"])
	require.NoError(t, json.Unmarshal([]byte(payload), &m), payload)
	switch {
	case strings.Contains(channel, ".task.created"):
		line = "created " + m.Values.Title
	case strings.Contains(channel, ".task.changed"):
		line = "changed " + m.OldValues.Title + " to " + m.NewValues.Title
	case strings.Contains(channel, ".ticket.created"):
		line = "created " + m.Title
	case strings.Contains(channel, ".ticket.changed"):
		line = "changed " + m.OldValues.Title + " to " + m.NewValues.Title
	case strings.Contains(channel, ".ticket.deleted"):
		line = "deleted " + m.Title
	}
	require.NotEmpty(t, line, "%s %s", channel, payload)
	return cmp.Or(m.Realm, "ticket") + " " + fmt.Sprint(m.ID), line
}
