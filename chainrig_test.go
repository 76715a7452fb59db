package tracbus

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/publish"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// chainRig hands batches to a publisher as a relay does, over a Redis of its
// own, and hears what is published there.
type chainRig struct {
	t         *testing.T
	server    *testserver.RedisServer
	client    *redis.Client // that may do everything
	own       *redis.Client // the publisher's
	publisher *Publisher
	state     string // the key
	ears      *redis.PubSub
}

// chainConfigs are what the rules are tested with.
var chainConfigs = map[string]PublisherConfig{"channels": {}, "stream": {StreamKey: "changes"}}

// eachChain runs a test with a stream and without.
func eachChain(t *testing.T, test func(t *testing.T, r *chainRig)) {
	for name, config := range chainConfigs {
		t.Run(name, func(t *testing.T) { test(t, newChainRig(t, config, testserver.RedisOptions{}, nil)) })
	}
}

// newChainRig starts a server, and a publisher over it as a user of its; nil is
// the default user, with go-redis's timeouts.
func newChainRig(t *testing.T, config PublisherConfig, options testserver.RedisOptions, user *redis.Options) *chainRig {
	t.Helper()
	testkit.NoLeaks(t)
	r := &chainRig{t: t, server: testserver.Redis(t, options), state: publish.StateKey(config.StreamKey, "uuid", "redis")}
	r.client = r.connect(&redis.Options{})
	if user == nil {
		user = &redis.Options{}
	}
	config.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	r.own = r.connect(user)
	r.publisher = NewPublisher(r.own, config)
	r.listen()
	return r
}

func (r *chainRig) connect(o *redis.Options) *redis.Client {
	if o.Addr == "" {
		o.Addr = r.server.Addr()
	}
	c := redis.NewClient(o)
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (r *chainRig) listen() {
	r.t.Helper()
	if r.ears != nil {
		_ = r.ears.Close()
	}
	r.ears = r.client.PSubscribe(r.ctx(), "*")
	r.t.Cleanup(func() { _ = r.ears.Close() })
	_, err := r.ears.Receive(r.ctx())
	require.NoError(r.t, err)
}

func (r *chainRig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	r.t.Cleanup(cancel)
	return ctx
}

// heard returns what was published since it was last asked, as "tid-seq".
func (r *chainRig) heard() []string {
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
func (r *chainRig) entries() []string {
	r.t.Helper()
	entries, err := r.client.XRange(r.ctx(), r.publisher.codec.config.StreamKey, "-", "+").Result()
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

// chainEvent is published on a channel that ends in its tid and seq.
type chainEvent struct {
	Change
	payload string
	fails   error
}

func (e chainEvent) Resource() Resource {
	return Resource{RealmTicket, fmt.Sprintf("%d-%d", e.TID, e.Seq)}
}
func (chainEvent) Kind() Kind                     { return KindChanged }
func (e chainEvent) WithChange(c Change) Event    { e.Change = c; return e }
func (e chainEvent) Payload() (_ []byte, _ error) { return []byte(e.payload), e.fails }

func chainedEvent(p store.Place, seq int) chainEvent {
	return chainEvent{Change: Change{Env: "test", TID: p.TID, CommitID: p.CommitID, Seq: seq}, payload: "{}"}
}

// transactions returns the events of transactions, each with so many changes,
// and the names under which they are heard.
func transactions(from, to int64, changes int) (events []Event, names []string) {
	names = []string{}
	for tid := from; tid <= to; tid++ {
		for seq := range changes {
			events = append(events, chainedEvent(at(tid), seq))
			names = append(names, fmt.Sprintf("%d-%d", tid, seq))
		}
	}
	return events, names
}

func (r *chainRig) chain(before, end int64) consumer.Span {
	return consumer.Span{Journal: "uuid", Consumer: "redis", From: at(before), To: at(end)}
}

// begin has Redis begin a branch at a place.
func (r *chainRig) begin(tid, branch int64, expect consumer.Offset) error {
	c := r.chain(tid, tid)
	c.Reset = &consumer.Reset{Expect: expect, Generation: branch}
	return r.publisher.handleChained(r.ctx(), c, nil)
}

func (r *chainRig) mustBegin(tid int64) {
	r.t.Helper()
	require.NoError(r.t, r.begin(tid, 0, consumer.Offset{Empty: true, Generation: -1}))
}

// hand hands on the transactions behind a tid up to another.
func (r *chainRig) hand(before, end int64, events []Event) error {
	return r.publisher.handleChained(r.ctx(), r.chain(before, end), events)
}

// stands returns the state as Redis has it.
func (r *chainRig) stands() map[string]string {
	r.t.Helper()
	s, err := r.client.HGetAll(r.ctx(), r.state).Result()
	require.NoError(r.t, err)
	return s
}

// wantElsewhere checks that an error says where Redis stands.
func wantElsewhere(t *testing.T, err error, want consumer.Offset) {
	t.Helper()
	var e *consumer.Mismatch
	require.ErrorAs(t, err, &e)
	require.Equal(t, want, e.Offset)
}

// scriptCounter notes how many messages each call of the script has.
type scriptCounter struct {
	calls  []int
	before func(call int) // from 1; may be nil
	dials  atomic.Int64   // connections made
}

func (c *scriptCounter) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c.dials.Add(1)
		return next(ctx, network, addr)
	}
}

func (c *scriptCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if a := cmd.Args(); a[0] == "evalsha" {
			keys, _ := strconv.Atoi(a[2].(string))
			c.calls = append(c.calls, a[3+keys+16].(int))
			if c.before != nil {
				c.before(len(c.calls))
			}
		}
		return next(ctx, cmd)
	}
}
func (c *scriptCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
