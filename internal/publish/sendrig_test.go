package publish

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// sendRig sends spans as a consumer does, over a Redis of its own, and hears what
// is published there.
type sendRig struct {
	t         *testing.T
	server    *testserver.RedisServer
	client    *redis.Client // that may do everything
	own       *redis.Client // the publisher's
	tap       *testkit.Tap  // of it
	publisher *Publisher[event]
	state     string // the key
	ears      *redis.PubSub

	generation int64 // that spans are of
}

// configs are what the rules are tested with.
var configs = map[string]Config{"channels": {}, "stream": {StreamKey: "changes"}}

// eachWay runs a test with a stream and without.
func eachWay(t *testing.T, test func(t *testing.T, r *sendRig)) {
	for name, config := range configs {
		t.Run(name, func(t *testing.T) { test(t, newSendRig(t, config, testserver.RedisOptions{}, nil)) })
	}
}

// newSendRig starts a server, and a publisher over it as a user of its; nil is
// the default user, with go-redis's timeouts.
func newSendRig(t *testing.T, config Config, options testserver.RedisOptions, user *redis.Options) *sendRig {
	t.Helper()
	testkit.NoLeaks(t)
	r := &sendRig{t: t, server: testserver.Redis(t, options), state: StateKey(config.StreamKey, false, "uuid", "redis")}
	r.client = r.connect(&redis.Options{})
	if user == nil {
		user = &redis.Options{}
	}
	r.own = r.connect(user)
	r.tap = testkit.NewTap(r.own)
	r.publisher = newPublisher(t, r.own, config)
	r.listen()
	return r
}

func (r *sendRig) connect(o *redis.Options) *redis.Client {
	if o.Addr == "" {
		o.Addr = r.server.Addr()
	}
	c := redis.NewClient(o)
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (r *sendRig) listen() {
	r.t.Helper()
	if r.ears != nil {
		_ = r.ears.Close()
	}
	r.ears = r.client.PSubscribe(r.ctx(), "*")
	r.t.Cleanup(func() { _ = r.ears.Close() })
	_, err := r.ears.Receive(r.ctx())
	require.NoError(r.t, err)
}

func (r *sendRig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	r.t.Cleanup(cancel)
	return ctx
}

// heard returns what was published since it was last asked, as "tid-seq".
func (r *sendRig) heard() []string {
	r.t.Helper()
	require.NoError(r.t, r.client.Publish(r.ctx(), "end", "").Err())
	heard := []string{}
	for {
		m, err := r.ears.ReceiveMessage(r.ctx())
		require.NoError(r.t, err)
		if m.Channel == "end" {
			return heard
		}
		heard = append(heard, strings.TrimPrefix(m.Channel, "trac.test.ticket.changed."))
	}
}

// entries returns the channels of the stream, as "tid-seq".
func (r *sendRig) entries() []string {
	r.t.Helper()
	entries, err := r.client.XRange(r.ctx(), r.publisher.script.config.StreamKey, "-", "+").Result()
	require.NoError(r.t, err)
	all := []string{}
	for _, e := range entries {
		all = append(all, strings.TrimPrefix(e.Values["channel"].(string), "trac.test.ticket.changed."))
	}
	return all
}

// at is a transaction of the journal that the tests are about.
func at(tid int64) store.Place {
	if tid == 0 {
		return store.Place{}
	}
	return store.Place{TID: tid, CommitID: fmt.Sprintf("mark%d", tid)}
}

// event is published on a channel that ends in its tid and seq.
type event struct {
	tx       store.Place
	seq      int
	payload  string
	fails    error // to encode it
	unwanted bool
}

func eventAt(tx store.Place, seq int) event { return event{tx: tx, seq: seq, payload: "{}"} }

// eventCodec is the Codec of events.
type eventCodec struct{}

func (eventCodec) Wants(e event) bool { return !e.unwanted }

func (c eventCodec) Append(dst []byte, e event) (_ []byte, middle int, err error) {
	dst = append(dst, c.Name(e)...)
	return append(dst, e.payload...), len(dst), e.fails
}

func (eventCodec) Entry(event) Entry                { return Entry{} }
func (eventCodec) Place(e event) (store.Place, int) { return e.tx, e.seq }
func (eventCodec) Name(e event) string {
	return fmt.Sprintf("trac.test.ticket.changed.%d-%d", e.tx.TID, e.seq)
}
func (eventCodec) Sort(event) string { return "ticket.changed" }

// newPublisher fills in what every publisher has. It is closed with the test.
func newPublisher(t testing.TB, client redis.UniversalClient, config Config) *Publisher[event] {
	config.StreamMaxLen = cmp.Or(config.StreamMaxLen, 100_000)
	config.MaxBackoff = 2 * time.Second
	config.Logger = slog.New(slog.DiscardHandler)
	p := New(client, eventCodec{}, config)
	t.Cleanup(p.Close)
	return p
}

// transactions returns the events of transactions, each with so many changes,
// and the names under which they are heard.
func transactions(from, to int64, changes int) (events []event, names []string) {
	names = []string{}
	for tid := from; tid <= to; tid++ {
		for seq := range changes {
			events = append(events, eventAt(at(tid), seq))
			names = append(names, fmt.Sprintf("%d-%d", tid, seq))
		}
	}
	return events, names
}

func (r *sendRig) span(before, end int64) consumer.Span {
	return consumer.Span{Journal: "uuid", Consumer: "redis", From: at(before), To: at(end), Generation: r.generation}
}

// reset has Redis begin a generation after a tid.
func (r *sendRig) reset(tid, branch int64, expect consumer.Offset) error {
	c := r.span(tid, tid)
	c.Reset = &consumer.Reset{Expect: expect, Generation: branch}
	err := r.publisher.Send(r.ctx(), c, nil)
	if err == nil {
		r.generation = branch
	}
	return err
}

func (r *sendRig) mustReset(tid int64) {
	r.t.Helper()
	require.NoError(r.t, r.reset(tid, 0, consumer.Offset{Empty: true, Generation: -1}))
}

// send sends the transactions after a tid, up to another.
func (r *sendRig) send(before, end int64, events []event) error {
	return r.publisher.Send(r.ctx(), r.span(before, end), events)
}

// offset returns the state as Redis has it.
func (r *sendRig) offset() map[string]string {
	r.t.Helper()
	s, err := r.client.HGetAll(r.ctx(), r.state).Result()
	require.NoError(r.t, err)
	return s
}

// wantMismatch checks that an error says where Redis is.
func wantMismatch(t *testing.T, err error, want consumer.Offset) {
	t.Helper()
	var e *consumer.Mismatch
	require.ErrorAs(t, err, &e)
	require.Equal(t, want, e.Offset)
}

// scriptCounter notes how many messages each call of the script has.
type scriptCounter struct {
	calls  []int
	before func(call int) // from 1; may be nil
}

// count counts the calls that are tapped from now on.
func (c *scriptCounter) count(tap *testkit.Tap) {
	tap.Before(func(commands [][]string) error {
		for _, a := range commands {
			if a[0] != "evalsha" {
				continue
			}
			keys, _ := strconv.Atoi(a[2])
			messages, _ := strconv.Atoi(a[3+keys+16])
			c.calls = append(c.calls, messages)
			if c.before != nil {
				c.before(len(c.calls))
			}
		}
		return nil
	})
}
