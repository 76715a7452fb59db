package embed_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
)

// journaled returns what a journal says of each ticket, as the ledger's histories do.
func journaled(t *testing.T, l *ledger, dialect string) map[int64][]string {
	t.Helper()
	ctx := t.Context()
	bus := tracbus.NewBus("reader")
	j, err := tracbus.OpenJournal(ctx, l.db, bus, tracbus.JournalConfig{Dialect: tracbus.Dialect(dialect), WriteOnly: true})
	require.NoError(t, err)
	defer func() {
		require.NoError(t, j.Close(ctx))
		require.NoError(t, bus.Close(ctx))
	}()
	all := map[int64][]string{}
	for e, err := range j.Since(ctx, 0) {
		require.NoError(t, err)
		switch e := e.(type) {
		case tracbus.TicketCreated:
			all[e.ID] = append(all[e.ID], "created "+e.Values.Text("title"))
		case tracbus.TicketChanged:
			all[e.ID] = append(all[e.ID], "changed "+e.Old.Text("title")+" to "+e.New.Text("title"))
		case tracbus.TicketDeleted:
			all[e.ID] = append(all[e.ID], "deleted "+e.Values.Text("title"))
		default:
			t.Errorf("an event that nobody recorded: %v", e)
		}
	}
	return all
}

// streamed returns what a stream says of each ticket, as it is in Redis.
func streamed(t *testing.T, addr string) map[int64][]string {
	t.Helper()
	client := testkit.PatientClient(t, addr)
	entries, err := client.XRange(t.Context(), "changes", "-", "+").Result()
	require.NoError(t, err)
	all := map[int64][]string{}
	for _, entry := range entries {
		id, line := told(t, entry)
		all[id] = append(all[id], line)
	}
	return all
}

// told reads an entry without the library.
func told(t *testing.T, entry redis.XMessage) (id int64, line string) {
	t.Helper()
	var m struct {
		ID        json.Number
		Title     string
		NewValues struct{ Title string } `json:"new_values"`
		OldValues struct{ Title string } `json:"old_values"`
	}
	channel, payload := fmt.Sprint(entry.Values["channel"]), fmt.Sprint(entry.Values["payload"])
	require.NoError(t, json.Unmarshal([]byte(payload), &m), payload)
	id, err := m.ID.Int64()
	require.NoError(t, err, payload)
	switch {
	case strings.Contains(channel, ".ticket.created"):
		line = "created " + m.Title
	case strings.Contains(channel, ".ticket.changed"):
		line = "changed " + m.OldValues.Title + " to " + m.NewValues.Title
	case strings.Contains(channel, ".ticket.deleted"):
		line = "deleted " + m.Title
	}
	require.NotEmpty(t, line, "%s %s", channel, payload)
	return id, line
}
