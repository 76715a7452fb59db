package tracbus_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

// TestPlainResources: what a subscriber decodes of a plain resource is what was published, and
// the listener of a realm gets what is of it.
func TestPlainResources(t *testing.T) {
	task := tracbus.Resources("task").Of("a.b/ü 1")
	c := tracbus.Change{Env: "test", Author: "joe", Comment: "why", Time: time.Unix(7, 0).UTC()}
	f := func(kv ...any) tracbus.Fields {
		all := tracbus.Fields{}
		for i := 0; i < len(kv); i += 2 {
			all[kv[i].(string)] = kv[i+1]
		}
		return all
	}
	events := []tracbus.Event{
		tracbus.ResourceCreated{Change: c, Of: task, Values: f("realm", "x", "id", nil, "done", true, "n", json.Number("1.5"))},
		tracbus.ResourceChanged{Change: c, Of: task, Values: f("a", "2", "b", "1"), New: f("a", "2"), Old: f("a", "1", "gone", "x")},
		tracbus.ResourceChanged{Change: c, Of: task, New: f("a", "2"), Old: f("a", "1")},
		tracbus.ResourceDeleted{Change: c, Of: task, Values: f("a", "2")},
		tracbus.ResourceDeleted{Change: c, Of: task},
	}
	unknown := c
	unknown.Absent = tracbus.AttrOld
	events = append(events, tracbus.ResourceChanged{Change: unknown, Of: task, Values: f("a", "2"), New: f("a", "2"), Old: f("a", nil)})
	for _, e := range events {
		for _, config := range []tracbus.PublisherConfig{{}, {NoPrefix: true}} {
			channel, payload, err := config.Encode(e)
			require.NoError(t, err)
			prefix := "trac"
			if config.NoPrefix {
				prefix = ""
			}
			got, err := tracbus.Decode(prefix, channel, payload)
			require.NoError(t, err, payload)
			about := e.About()
			about.Absent |= tracbus.AttrOrigin
			if e.(tracbus.Recordable).Entry().State == nil {
				about.Absent |= tracbus.AttrValues
			}
			assert.Equal(t, e.WithChange(about), got, payload)
		}
	}
	channel, payload, err := tracbus.PublisherConfig{}.Encode(events[1])
	require.NoError(t, err)
	assert.Equal(t, "trac.test.task.changed.a.b/ü 1", channel)
	assert.JSONEq(t, `{"realm":"task","id":"a.b/ü 1","author":"joe","comment":"why","time":"1970-01-01T00:00:07+00:00","values":{"a":"2","b":"1"},"new_values":{"a":"2"},"old_values":{"a":"1","gone":"x"}}`, payload)

	for channel, payload := range map[string]string{
		"trac.test.task.created":   `{"realm":"task"}`,                                     // no id
		"trac.test.task.changed.1": `{"realm":"task","id":"2","new_values":{}}`,            // another id
		"trac.test.task.renamed.1": `{"realm":"task","id":"1"}`,                            // no such kind
		"trac.test.other.created":  `{"realm":"task","id":"1","values":{}}`,                // another realm
		"trac.test.build.created":  `{"realm":`,                                            // no JSON
		"news":                     `{"realm":"task","id":"1","author":"x","comment":"y"}`, // no channel
	} {
		_, err := tracbus.Decode("trac", channel, payload)
		assert.ErrorIs(t, err, tracbus.ErrUnknownChannel, payload)
	}
	for channel, payload := range map[string]string{
		"trac.test.task.created":   `{"realm":"task","id":"1","values":[]}`,
		"trac.test.task.changed.1": `{"realm":"task","id":"1"}`,
		"trac.test.task.deleted":   `{"realm":"task","id":"1","time":"never"}`,
	} {
		_, err := tracbus.Decode("trac", channel, payload)
		assert.ErrorIs(t, err, tracbus.ErrBadPayload, payload)
	}
	ticket, err := tracbus.Decode("trac", "trac.test.ticket.created", `{"id":1,"realm":"task"}`)
	require.NoError(t, err)
	assert.Equal(t, tracbus.Fields{"realm": "task"}, ticket.(tracbus.TicketCreated).Values, "a ticket with a field of that name")

	bus := tracbus.NewBus("test")
	var heard resourceEars
	bus.Resource("task", tracbus.Primary, &heard)
	for _, e := range events {
		require.NoError(t, bus.Notify(e, tracbus.ResourceCreated{Of: tracbus.Resources("other").Of("1")}))
	}
	require.NoError(t, bus.Close(t.Context()))
	assert.Equal(t, resourceEars{"created", "changed", "changed", "deleted", "deleted", "changed"}, heard)

	bus = tracbus.NewBus("test")
	for _, bad := range []tracbus.Event{
		tracbus.ResourceCreated{Of: tracbus.Resource{Realm: "ticket", ID: "1"}},
		tracbus.ResourceCreated{Of: tracbus.Resources("Task").Of("1")},
		tracbus.ResourceDeleted{Of: tracbus.Resources("task").Of("")},
		tracbus.ResourceChanged{Of: task, Old: f("a", "1")},
		tracbus.ResourceChanged{Of: task, Values: f("a", struct{}{})},
	} {
		assert.Error(t, bus.Notify(bad), "%v", bad)
	}
	require.NoError(t, bus.Close(t.Context()))
}

// resourceEars hears what kinds of changes there are.
type resourceEars []string

func (r *resourceEars) ResourceCreated(context.Context, tracbus.ResourceCreated) error {
	*r = append(*r, "created")
	return nil
}

func (r *resourceEars) ResourceChanged(context.Context, tracbus.ResourceChanged) error {
	*r = append(*r, "changed")
	return nil
}

func (r *resourceEars) ResourceDeleted(context.Context, tracbus.ResourceDeleted) error {
	*r = append(*r, "deleted")
	return nil
}

// TestDiff: the fields that changed between two states, by what their values are to listeners.
func TestDiff(t *testing.T) {
	fresh, old := tracbus.Diff(
		tracbus.Fields{"same": 1, "less": "x", "changed": "a", "null": nil},
		tracbus.Fields{"same": json.Number("1"), "more": "", "changed": "b", "null": nil},
	)
	assert.Equal(t, tracbus.Fields{"more": "", "changed": "b"}, fresh)
	assert.Equal(t, tracbus.Fields{"less": "x", "changed": "a"}, old)
	fresh, old = tracbus.Diff(nil, nil)
	assert.Empty(t, fresh)
	assert.Empty(t, old)
}
