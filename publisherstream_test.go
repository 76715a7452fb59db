package tracbus

import (
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// An entry has what a message lacks, in fields that redis-cli shows.
func TestStreamEntry(t *testing.T) {
	testkit.NoLeaks(t)
	client := redis.NewClient(&redis.Options{Addr: testserver.Redis(t, testserver.RedisOptions{}).Addr()})
	t.Cleanup(func() { _ = client.Close() })
	p := NewPublisher(client, PublisherConfig{StreamKey: "changes"})
	t.Cleanup(p.Close)
	at := func(tid int64) store.Place {
		return store.Place{TID: tid, CommitID: "mark" + strconv.FormatInt(tid, 10)}
	}
	send := func(from, to int64, reset *consumer.Reset, events ...Event) {
		t.Helper()
		span := consumer.Span{Journal: "uuid", Consumer: "redis", From: at(from), To: at(to), Reset: reset}
		require.NoError(t, p.sendSpan(t.Context(), span, events))
	}
	made := time.Date(2020, 1, 2, 3, 4, 5, 6000, time.UTC)
	change := Change{
		Env: "test", TID: 7, CommitID: at(7).CommitID, Seq: 2, Time: made,
		Author: "joe", IPNR: "10.0.0.1", Authenticated: true, Comment: "Done.",
	}
	e := TicketChanged{
		Change: change, ID: 5,
		New: Fields{"due": made, "status": "closed", "begun": nil}, Old: Fields{"due": nil, "status": "new", "begun": made},
	}
	parent := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	trace := Trace{Parent: parent, State: "rojo=1"}
	deleted := WikiPageDeleted{Change: Change{Env: "test", TID: 8, CommitID: at(8).CommitID, Trace: trace}, Page: WikiPage{Name: "Start"}}
	changed := e
	changed.TID, changed.CommitID, changed.Trace = 9, at(9).CommitID, Trace{Parent: parent}
	send(6, 6, &consumer.Reset{Expect: consumer.Offset{Empty: true, Generation: -1}})
	send(6, 7, nil, e)
	send(7, 8, nil, deleted)
	send(8, 9, nil, changed)

	entries, err := client.XRange(t.Context(), "changes", "-", "+").Result()
	require.NoError(t, err)
	require.Len(t, entries, 3)
	channel, payload, err := PublisherConfig{}.Encode(e)
	require.NoError(t, err)
	assert.Equal(t, "7-2", entries[0].ID)
	appended, err := strconv.ParseInt(entries[0].Values["at"].(string), 10, 64)
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), time.UnixMilli(appended), time.Minute)
	delete(entries[0].Values, "at")
	assert.Equal(t, map[string]any{
		"channel": channel, "payload": payload, "mark": "mark7", "time": strconv.FormatInt(made.UnixMicro(), 10),
		"author": "joe", "ipnr": "10.0.0.1", "authenticated": "1", "comment": "Done.",
		"types": `{"due":"time"}`, "old_types": `{"begun":"time"}`, "before": "0-0",
	}, entries[0].Values)
	assert.Equal(t, "8-0", entries[1].ID)
	assert.Equal(t, "7-2", entries[1].Values["before"])
	assert.Equal(t, "", entries[1].Values["time"], "not known")
	assert.Equal(t, "0", entries[1].Values["authenticated"])
	assert.NotContains(t, entries[1].Values, "types")
	assert.NotContains(t, entries[1].Values, "old_types")
	assert.Equal(t, parent, entries[1].Values["traceparent"])
	assert.Equal(t, "rojo=1", entries[1].Values["tracestate"])
	assert.NotContains(t, entries[1].Values["payload"], parent, "a message is the plugin's")
	assert.Equal(t, parent, entries[2].Values["traceparent"])
	assert.NotContains(t, entries[2].Values, "tracestate")
	assert.Equal(t, `{"due":"time"}`, entries[2].Values["types"])
	assert.Equal(t, "8-0", entries[2].Values["before"])

	var read []Event
	for step, err := range NewSubscriber(client, SubscriberConfig{}).Stream(t.Context(), "changes", "7-2") {
		require.NoError(t, err)
		if read = append(read, step.Event); len(read) == 2 {
			break
		}
	}
	assert.Equal(t, trace, read[0].About().Trace)
	assert.Equal(t, Trace{Parent: parent}, read[1].About().Trace)
}

// A stream's settings that contradict each other are refused at once.
func TestStreamSettings(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer func() { _ = client.Close() }()
	for _, key := range []string{"changes", "{trac}:changes"} {
		require.NoError(t, PublisherConfig{StreamKey: key}.checkStream(), key)
	}
	for _, key := range []string{"a}b", "{}x", "x{}", "}{", "}{a", "{}{a}"} {
		assert.ErrorContains(t, PublisherConfig{StreamKey: key}.checkStream(), "expected a key without }", key)
	}
	assert.PanicsWithValue(t, `tracbus: PublisherConfig with StreamKey "a}b": expected a key without }, or with braces around a part of it, as in {trac}:changes`,
		func() { NewPublisher(client, PublisherConfig{StreamKey: "a}b"}) })
	assert.PanicsWithValue(t, "tracbus: PublisherConfig with StreamMaxLen -1 and StreamMaxAge 0s: expected none below zero, and no age below a millisecond",
		func() { NewPublisher(client, PublisherConfig{StreamKey: "a", StreamMaxLen: -1}) })
	assert.PanicsWithValue(t, "tracbus: PublisherConfig with StreamMaxLen or StreamMaxAge: expected a StreamKey too",
		func() { NewPublisher(client, PublisherConfig{StreamMaxAge: time.Hour}) })
}

func TestStreamNeedsDurable(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer func() { _ = client.Close() }()
	bus := NewBus("test")
	defer func() { require.NoError(t, bus.Close(t.Context())) }()
	p := NewPublisher(client, PublisherConfig{StreamKey: "changes"})
	for _, scope := range []Scope{Primary, Everywhere} {
		assert.PanicsWithValue(t, "tracbus: registering *tracbus.Publisher under "+scope.String()+
			`: PublisherConfig.StreamKey is "changes": a stream is only appended to under Durable, which knows what is in it already`,
			func() { bus.All(scope, p) })
	}
}
