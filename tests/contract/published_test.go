package contract

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// perKind is how many events of each kind are published in each way.
const perKind = 25

// published publishes events on a Redis, and returns what a subscriber receives.
func published(t *testing.T, client *redis.Client, config tracbus.PublisherConfig, events []tracbus.Event, want int) (messages []*redis.Message) {
	t.Helper()
	ctx := testkit.Within(t)
	pubsub := client.PSubscribe(ctx, "*")
	_, err := pubsub.Receive(ctx)
	require.NoError(t, err)
	config.Logger = testkit.Quiet
	bus := tracbus.BusConfig{QueueSize: len(events), Logger: testkit.Quiet}.NewBus("myenv")
	publisher := tracbus.NewPublisher(client, config)
	bus.All(tracbus.Primary, publisher)
	for _, e := range events {
		require.NoError(t, bus.Notify(e), "%#v", e)
	}
	require.NoError(t, bus.Close(ctx))
	require.Equal(t, uint64(want), publisher.Stats().Published)
	for range want {
		m, err := pubsub.ReceiveMessage(ctx)
		require.NoError(t, err)
		messages = append(messages, m)
	}
	require.NoError(t, pubsub.Close())
	return messages
}

// Whatever events say, what is published is what the document says: channel and payload,
// in each way in which a publisher can be configured.
func TestPublishedMessages(t *testing.T) {
	testkit.NoLeaks(t)
	c := readContract(t)
	client := testkit.PatientClient(t, testserver.Redis(t, testserver.RedisOptions{}).Addr())
	d := newDice(1, false)
	var events []tracbus.Event
	for range perKind {
		for _, like := range Examples() {
			events = append(events, d.event(t, like))
		}
	}
	for _, config := range []tracbus.PublisherConfig{
		{ExtraEvents: true},
		{ExtraEvents: true, NoPrefix: true, FullNewValues: true},
		{ExtraEvents: true, Prefix: "a.b", FullNewValues: true},
	} {
		for i, m := range published(t, client, config, events, len(events)) {
			c.checkMessage(t, config, events[i], m.Channel, m.Payload)
		}
	}
}

// checkMessage checks that an event was published on its channel, and with a payload of that.
func (c *contract) checkMessage(t *testing.T, config tracbus.PublisherConfig, e tracbus.Event, name, payload string) {
	t.Helper()
	prefix := config.Prefix
	if prefix == "" && !config.NoPrefix {
		prefix = "trac"
	}
	ch := c.channels[lower(nameOf(e))]
	assert.True(t, ch.matches(name, prefix, e.About().Env), "%T on channel %q, which is no %s", e, name, ch.address)
	if strings.HasSuffix(ch.address, "{id}") {
		assert.True(t, strings.HasSuffix(name, "."+e.Resource().ID), "channel %q of %s", name, e.Resource())
	}
	whole := parsed(t, payload).(map[string]any)
	c.complete(t, ch.message, e.About().Absent, whole)
	assert.NoError(t, c.check(ch.message, any(whole)), "%s", payload)
}

// complete adds the members that the document says are left out if attributes are absent,
// after it has checked that they are.
func (c *contract) complete(t *testing.T, message string, absent tracbus.Attrs, payload map[string]any) {
	t.Helper()
	example := parsed(t, c.examples[message]).(map[string]any)
	for _, a := range attributes {
		for name, attr := range c.absent[message] {
			if absent.Has(a.attr) && slices.Contains(strings.Split(attr, ", "), a.name) {
				assert.NotContains(t, payload, name, "%s without %s", message, a.name)
				payload[name] = example[name]
			}
		}
	}
}

// Without ExtraEvents, a publisher sends what has no tag extra, and nothing else.
func TestExtraEvents(t *testing.T) {
	testkit.NoLeaks(t)
	c := readContract(t)
	client := testkit.PatientClient(t, testserver.Redis(t, testserver.RedisOptions{}).Addr())
	var plain []string
	for _, e := range Examples() {
		if name := lower(nameOf(e)); !c.channels[name].extra {
			plain = append(plain, name)
		}
	}
	require.Len(t, plain, 6+3)
	var got []string
	for _, m := range published(t, client, tracbus.PublisherConfig{}, Examples(), len(plain)) {
		for name, ch := range c.channels {
			if name != lower(entryName) && ch.matches(m.Channel, "trac", "myenv") {
				got = append(got, name)
			}
		}
	}
	assert.Equal(t, plain, got)
}

// An event of which a part is absent lacks the members that the document names for it,
// and nothing else is different.
func TestAbsentMembers(t *testing.T) {
	c := readContract(t)
	left, optional := 0, 0
	for _, e := range Examples() {
		message := nameOf(e)
		full, err := encode(e, tracbus.PublisherConfig{})
		require.NoError(t, err)
		for _, a := range attributes {
			change := e.About()
			change.Absent = a.attr
			got, err := encode(e.WithChange(change), tracbus.PublisherConfig{})
			require.NoError(t, err)
			var missing []string
			for name, v := range full {
				if _, ok := got[name]; !ok && (a.attr == tracbus.AttrOld || a.attr == tracbus.AttrValues) {
					assert.NoError(t, c.check(message, any(got)), "%s without %s, which a journal may not know", message, name)
					optional++
					got[name] = v
				} else if !ok {
					assert.Error(t, c.check(message, any(got)), "%s without %s", message, name)
					missing = append(missing, name)
					got[name] = v
				}
			}
			var said []string
			for name, attr := range c.absent[message] {
				if slices.Contains(strings.Split(attr, ", "), a.name) {
					said = append(said, name)
				}
			}
			left += len(said)
			assert.ElementsMatch(t, said, missing, "%s without %s", message, a.name)
			assert.Equal(t, full, got, "%s without %s", message, a.name)
		}
	}
	assert.Greater(t, left, 40)
	assert.Equal(t, 4, optional)
}

// Each entry of a stream is what the document says, with a payload of its channel.
func TestStreamEntries(t *testing.T) {
	testkit.NoLeaks(t)
	c := readContract(t)
	d := newDice(2, true)
	var events []tracbus.Event
	for range perKind / 5 {
		for _, like := range Examples() {
			events = append(events, d.event(t, like))
		}
	}
	for _, all := range []bool{false, true} {
		t.Run(fmt.Sprintf("FullNewValues %t", all), func(t *testing.T) {
			client := testkit.PatientClient(t, testserver.Redis(t, testserver.RedisOptions{}).Addr())
			config := tracbus.PublisherConfig{FullNewValues: all}
			for i, e := range appended(t, client, config, events) {
				require.NoError(t, c.check(entryName, any(e)), "%v", e)
				ch := c.channels[lower(nameOf(events[i]))]
				channel, env := e["channel"].(string), events[i].About().Env
				if env == "myenv" {
					env = "desk"
				}
				assert.True(t, ch.matches(channel, "trac", env), "%T on channel %q, which is no %s", events[i], channel, ch.address)
				assert.NoError(t, c.check(ch.message, parsed(t, e["payload"].(string))), "%s", e["payload"])
			}
		})
	}
}
