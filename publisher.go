package tracbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/publish"
	"github.com/tracbus/tracbus/internal/redisconn"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/tracecontext"
	"github.com/tracbus/tracbus/internal/value"
)

// DefaultPrefix is the first part of every channel unless configured otherwise
// (plugin README, [redispub] channel_prefix).
const DefaultPrefix = "trac"

// PublisherConfig says what a [Publisher] publishes, and on which channels.
type PublisherConfig struct {
	// Prefix is the first part of every channel. Zero means [DefaultPrefix],
	// unless NoPrefix is set.
	Prefix string

	// NoPrefix publishes on channels without a prefix and without a leading
	// dot, as Trac does if channel_prefix is empty.
	NoPrefix bool

	// FullNewValues sends every field of a changed ticket in new_values, as plugin
	// 0.2 does. Zero means the changed fields only, as plugin 0.1 does.
	FullNewValues bool

	// ExtraEvents also publishes the events that the plugin never had. Zero means
	// that subscribers to "trac.*" see nothing that they do not know.
	ExtraEvents bool

	// SkipRealms names realms that are not published. Zero means that all are.
	SkipRealms []Realm

	// StreamKey is the key of a Redis stream to which every message is also
	// appended, so that a subscriber that was away can catch up. It needs the
	// scope Durable, and must belong to one journal and consumer alone. Zero
	// means that there is no stream.
	StreamKey string

	// StreamMaxLen bounds the stream, in entries: the oldest are trimmed. Redis
	// trims in steps, so that there can be some hundred more. Zero means 100,000.
	StreamMaxLen int64

	// StreamMaxAge bounds how long the stream keeps an entry, in whole
	// milliseconds. Older ones are trimmed when the next change is published.
	// Zero means any age.
	StreamMaxAge time.Duration

	// MaxBackoff bounds the pause between tries while Redis is away, under Durable
	// too. It begins at 50 ms, under Durable at [DurableConfig.Backoff], and doubles.
	// Zero means 2 s.
	MaxBackoff time.Duration

	// Logger gets one line when Redis goes away, and one when it is back. Zero
	// means slog.Default().
	Logger *slog.Logger
}

// prefixOf is the one reader of Prefix and NoPrefix.
func prefixOf(prefix string, none bool) string {
	switch {
	case none && prefix != "":
		panic(fmt.Sprintf("tracbus: prefix %q and NoPrefix contradict each other", prefix))
	case none:
		return ""
	}
	return cmp.Or(prefix, DefaultPrefix)
}

// Publisher is a listener that publishes every event on Redis, as the plugin
// tracext-redispub does. Register it with [Bus.All]. While Redis is away, events
// wait in the bus's queue: beyond [BusConfig.QueueSize] the oldest are dropped,
// and counted in [Publisher.Stats].
//
// It owns one connection, with the settings and the Dialer of the client: the client's
// pool and hooks have no part in it. When the client would connect elsewhere now, after a
// failover say, the publisher does so too. It sends the waiting events in one round trip,
// and sends the next ones when that was answered. A message whose answer was lost is sent
// again, immediately and before any other, after the connection that carried it was
// killed. For that the Redis user needs "+client|kill +info" besides "+publish". Without
// these rights, a message that is sent again may arrive late.
//
// A replica, to which a server may become any time, publishes to nobody. So a message that
// nobody received counts as published only if the server is no replica; else Redis is
// away, and the messages are sent again where the client connects next, from the first
// that nobody received.
//
// Redis closes the connection on a message that is too long for it. If it does so
// several times in a row, the publisher sends messages one by one, and rejects one
// of 64 KiB or more that alone ends five new connections in a row, so that it
// does not block the ones after it. A Redis that is away, or silent, never makes
// it reject a message.
//
// # Under Durable
//
// Redis itself keeps how far the publisher has come, in a hash whose key begins
// with "tracbus:" and has the journal's UUID and the consumer's name. A script
// publishes a batch only if it comes after that offset, and moves the offset: so
// nothing is published twice, even if a process dies or is late, and nothing is
// left out. If Redis was emptied, restored, or lost its last writes in a failover,
// its offset is another one, and it gets from the journal what it lost. Only what
// Redis published before it was killed, and had not yet written to its disk, comes
// twice.
//
// No event is rejected. One that cannot be encoded, a channel that is forbidden, a
// message that is too long, or a Redis without memory blocks all events after it
// until that is mended; the error names channel, tid and seq. The hash never
// expires. Do not use a maxmemory-policy that may evict it (allkeys-…).
//
// With StreamKey, the same script appends each message to the stream before it
// publishes it, and the hash is in the stream's slot of a cluster. An entry's id
// is generation<<48 + tid, a dash, and seq, so that entries have the journal's
// order. A new generation begins if Redis forgot its offset, or if the journal's
// history went back. An entry has the fields channel, payload, mark (the
// transaction's commit id), time (microseconds since 1970; empty if not known),
// author, ipnr, authenticated (0 or 1), comment, types and old_types (JSON: which
// fields of the new or all values, and of the old ones, are of type "time"; absent
// if none is), traceparent and tracestate (of [Change.Trace]; absent if there is none), before (the id of the previous entry in its generation, or 0-0) and
// at (milliseconds, by Redis's clock).
//
// The Redis user needs these rights; +script|load can replace +eval; the keys are the
// hash and the stream:
//
//	~tracbus:* &trac.* +evalsha +eval +publish +hmget +hset +time +info
//	~changes +xadd +xtrim +xrange +xlen +xinfo|stream           with StreamKey
//
// An event of a realm of your own is published if it is a [Payloader].
//
// What a publisher starts for its connection ends with that. Its methods may be called
// concurrently.
type Publisher struct {
	codec  codec
	sender *publish.Publisher[Event]
}

// PublisherStats counts messages since the publisher was made. Every message
// that it was given ends in one of Published, Rejected, Dropped and
// Unacknowledged.
type PublisherStats struct {
	Published      uint64 // Redis has acknowledged them
	NoReceivers    uint64 // of these, nobody was subscribed; zero in a Cluster, where a node knows its own subscribers only
	Rejected       uint64 // could not be encoded, the channel was forbidden, or Redis hung up on them
	Dropped        uint64 // not sent: too many waited, or the bus was closed
	Unacknowledged uint64 // sent, and the bus was closed before an answer came
	Resent         uint64 // sent again, because the answer was lost

	Waiting      int       // held at the moment, without those in the bus's queue
	Disconnected bool      // Redis did not answer the last try, or takes nothing now
	Since        time.Time // of the last change of Disconnected; zero if there was none
	LastError    error     // of the last message or try that failed; nil if none did
}

// NewPublisher returns a publisher over a client that the caller keeps and
// closes, after the bus. The client should have finite timeouts, as go-redis's
// defaults are: if Redis is silent, the publisher waits until they expire.
//
// It takes no connection of the client's pool: PoolSize does not matter.
//
// It panics if the client is nil or of a kind that cannot serve, or if the
// configuration contradicts itself.
func NewPublisher(client redis.UniversalClient, config PublisherConfig) *Publisher {
	mustServe("NewPublisher", client)
	if config.MaxBackoff < 0 {
		panic("tracbus: PublisherConfig needs MaxBackoff from zero")
	}
	if err := config.checkStream(); err != nil {
		panic("tracbus: PublisherConfig " + err.Error())
	}
	config.Prefix = prefixOf(config.Prefix, config.NoPrefix)
	config.StreamMaxLen = cmp.Or(config.StreamMaxLen, 100_000)
	config.MaxBackoff = cmp.Or(config.MaxBackoff, 2*time.Second)
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	codec := codec{&config, new(value.Orders)}
	return &Publisher{codec, publish.New[Event](client, codec, publish.Config{
		StreamKey: config.StreamKey, StreamMaxLen: config.StreamMaxLen, StreamMaxAge: config.StreamMaxAge,
		MaxBackoff: config.MaxBackoff, Logger: config.Logger,
	})}
}

// mustServe panics with what is wrong with a client.
func mustServe(what string, client redis.UniversalClient) {
	if err := redisconn.Check(client); err != nil {
		panic("tracbus: " + what + " " + err.Error())
	}
}

// checkStream says what is wrong with the settings of a stream.
func (c PublisherConfig) checkStream() error {
	switch {
	case !publish.IsStreamKey(c.StreamKey):
		return fmt.Errorf("with StreamKey %q: expected %s", c.StreamKey, publish.StreamKeyWant)
	case c.StreamMaxLen < 0 || c.StreamMaxAge < 0 || c.StreamMaxAge > 0 && c.StreamMaxAge < time.Millisecond:
		return fmt.Errorf("with StreamMaxLen %d and StreamMaxAge %v: expected none below zero, and no age below a millisecond", c.StreamMaxLen, c.StreamMaxAge)
	case c.StreamKey == "" && (c.StreamMaxLen != 0 || c.StreamMaxAge != 0):
		return errors.New("with StreamMaxLen or StreamMaxAge: expected a StreamKey too")
	}
	return nil
}

// Stats returns what was counted so far.
func (p *Publisher) Stats() PublisherStats { return PublisherStats(p.sender.Stats()) }

// Close ends the publisher's connection, as its bus does when it is closed. Close the
// bus before. A publisher that is used further connects again.
func (p *Publisher) Close() { p.sender.Close() }

// left implements [leaver].
func (p *Publisher) left() { p.sender.Leave() }

// HandleBatch publishes events. It is called by the bus, and returns when Redis
// has acknowledged them all or ctx has ended. While Redis works on one round
// trip, it prepares the next.
func (p *Publisher) HandleBatch(ctx context.Context, events []Event) error {
	if key := p.codec.config.StreamKey; key != "" {
		return fmt.Errorf("publish: PublisherConfig.StreamKey is %q: expected the call of a durable consumer, and got one of HandleBatch, which appends to no stream", key)
	}
	return p.sender.Publish(ctx, events)
}

var _ offsetKeeper = (*Publisher)(nil)

// sendSpan implements [offsetKeeper]. Redis is what keeps the offset: see
// internal/publish/script for what it does with a call that comes twice or late.
func (p *Publisher) sendSpan(ctx context.Context, span consumer.Span, events []Event) error {
	return p.sender.Send(ctx, span, events)
}

// checkScope implements [scopeChecker].
func (p *Publisher) checkScope(s Scope, listener any) error {
	if _, queued := s.(scope); queued && p.codec.config.StreamKey != "" {
		return fmt.Errorf("PublisherConfig.StreamKey is %q: a stream is only appended to under Durable, which knows what is in it already", p.codec.config.StreamKey)
	}
	d, ok := s.(durableScope)
	switch {
	case ok && d.config.MaxAttempts > 0:
		return fmt.Errorf("DurableConfig.MaxAttempts is %d: expected zero, because what is published keeps its order", d.config.MaxAttempts)
	case ok && listener != any(p):
		return errors.New("it embeds a Publisher, which would be called in its place: expected the Publisher, or a type that has one in a named field")
	}
	return nil
}

// countDropped implements [dropCounter].
func (p *Publisher) countDropped(messages int) { p.sender.CountDropped(messages) }

// skims implements [skimmer]: a payload of the plugin's first form has only what
// changed.
func (p *Publisher) skims() bool { return !p.codec.config.FullNewValues }

// wants implements [eventFilter]: the bus queues nothing else.
func (p *Publisher) wants(e Event) bool { return p.codec.Wants(e) }

// codec makes messages of events, for [publish.Publisher].
type codec struct {
	config *PublisherConfig
	orders *value.Orders
}

// Wants says whether e is published at all.
func (c codec) Wants(e Event) bool {
	if !hasPayload(e) || len(c.config.SkipRealms) > 0 && slices.Contains(c.config.SkipRealms, e.Resource().Realm) {
		return false
	}
	if _, ours := e.(message); !ours {
		_, extra := e.(interface{ ExtraEvent() })
		return !extra || c.config.ExtraEvents // whoever gave it a payload wants that
	}
	switch e.Kind() {
	case KindCreated, KindChanged, KindDeleted:
		return true
	}
	return c.config.ExtraEvents
}

// Entry returns what a stream's entry of e has besides.
func (c codec) Entry(e Event) publish.Entry {
	about := e.About()
	entry := publish.Entry{
		Time: about.Time, Author: about.Author, IPNR: about.IPNR, Authenticated: about.Authenticated, Comment: about.Comment,
		Trace: tracecontext.Context(about.Trace),
	}
	if e, ok := e.(sentFields); ok {
		entry.Values, entry.Old = e.sent(c.config.FullNewValues)
	}
	return entry
}

// A sentFields is an event whose payload holds fields of any type.
type sentFields interface {
	// sent returns those that are in the payload, and the old ones.
	sent(all bool) (values, old Fields)
}

// Place returns e's transaction, and its place in that.
func (codec) Place(e Event) (tx store.Place, seq int) {
	about := e.About()
	return store.Place{TID: about.TID, CommitID: about.CommitID}, about.Seq
}

// Name returns e's channel.
func (c codec) Name(e Event) string { return channelOf(e, c.config.Prefix).String() }

// Sort returns e's realm and kind.
func (codec) Sort(e Event) string { return string(e.Resource().Realm) + "." + string(e.Kind()) }
