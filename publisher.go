package tracbus

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/publish/pipeline"
	"github.com/tracbus/tracbus/internal/publish/script"
)

// DefaultPrefix is the first part of every channel unless configured otherwise
// (plugin README, [redispub] channel_prefix).
const DefaultPrefix = "trac"

// PublisherConfig says what a [Publisher] publishes, and where.
type PublisherConfig struct {
	// Prefix is the first part of every channel. Zero means [DefaultPrefix],
	// unless NoPrefix is set.
	Prefix string

	// NoPrefix publishes on channels without a prefix and without a leading
	// dot, as Trac does where channel_prefix is empty.
	NoPrefix bool

	// FullNewValues sends every field of a changed ticket in new_values, as plugin
	// 0.2 does. Zero means the changed fields only, as plugin 0.1 does.
	FullNewValues bool

	// ExtraEvents also publishes the events that the plugin never had. Zero means
	// that subscribers to "trac.*" see nothing new.
	ExtraEvents bool

	// SkipRealms names realms that are not published. Zero means that all are.
	SkipRealms []Realm

	// StreamKey is the key of a Redis stream to which every message is appended
	// too, so that a subscriber that was away catches up. It needs the scope
	// Once, and belongs to one journal and name alone. Zero means that there is
	// none.
	StreamKey string

	// StreamMaxLen bounds the stream, in entries: the oldest go. Redis trims in
	// steps, so that some hundred more can be there. Zero means 100,000.
	StreamMaxLen int64

	// StreamMaxAge bounds how long the stream keeps an entry, to whole
	// milliseconds. What is older goes when the next change is published. Zero
	// means any age.
	StreamMaxAge time.Duration

	// MaxBackoff bounds the pause between tries while Redis is away, which
	// begins at 50 ms and doubles. Zero means 2 s.
	MaxBackoff time.Duration

	// Logger is told once when Redis goes away and once when it is back. Zero
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
// tracext-redispub does. Register it with [Bus.All], whose queue is what waits
// while Redis is away: beyond [BusConfig.QueueSize] the oldest are dropped, and
// counted in [Publisher.Stats].
//
// It sends what waits in one round trip, over one connection of the client's
// pool, and the next when that was answered. A message whose answer was lost is
// sent again, at once and before any other, after the connection that carried
// it was killed; for that its Redis user needs "+client|id +client|kill +info"
// beside "+publish". Where it does not have them, a message sent again may
// arrive late.
//
// On a message that is too long for it, Redis closes the connection. Where it
// does so again and again, the publisher sends messages one by one, and refuses
// one of 64 KiB or more that alone ends five new connections in a row, so that
// it does not block what is behind it. A Redis that is away, or silent, never
// makes it refuse one.
//
// # Under Durable
//
// Redis itself keeps how far it has come, in a hash whose key begins with
// "tracbus:" and holds the journal's UUID and the name. A script publishes a
// batch only if it lies behind that place, and moves the place: so nothing is
// published twice, whoever dies or is late, and nothing is left out. A Redis
// that was emptied, put back, or lost its last writes in a failover stands
// elsewhere, and gets from the journal what it lost. What Redis published
// before it was killed and had not yet written to its disk comes twice.
//
// Nothing is refused: an event that cannot be encoded, a channel that is
// forbidden, a message that is too long, or no memory for it, blocks all behind
// it until that is mended; the error names channel, tid and seq. The hash never
// expires; a maxmemory-policy that may evict it (allkeys-…) should not be used.
//
// With Stream, the same script appends each message to the stream before it
// publishes it, and the hash lies in the stream's slot of a cluster. An entry's
// id is branch<<48 + tid, a dash, and seq, so that it has the journal's order. A
// new branch begins where Redis forgot, or the journal's history went back. The
// entry has the fields channel, payload, mark (of the transaction), time
// (microseconds since 1970; empty if not known), author, ipnr, authenticated (0
// or 1), comment, types and old_types (JSON: which fields of new or all values,
// and of old ones, are of type "time"; absent if none is), before (id of the
// entry before it in its branch, or 0-0) and at (milliseconds, by Redis's clock).
//
// The Redis user needs these rights; the keys are the hash and the stream:
//
//	~tracbus:* &trac.* +evalsha +eval +publish +hmget +hset +time
//	~changes +xadd +xtrim +xrange +xlen +xinfo|stream     with Stream
//
// An event of a realm of your own is published if it is a [Payloader].
//
// It starts no goroutine. Its methods may be called concurrently.
type Publisher struct {
	config PublisherConfig

	sending sync.Mutex // held through HandleBatch and handleChained; guards what follows
	sender  *pipeline.Sender
	boxes   [2]outbox
	warned  bool // that a message may arrive late

	chains   *script.Sender
	links    [2]link
	branches map[string]int64 // by the key of the state: which it was last

	mu      sync.Mutex
	stats   PublisherStats
	refused map[string]bool // realms and kinds that cannot be published; logged once
}

// PublisherStats counts messages since the publisher was made. Every message
// that it was given ends in one of Published, Refused, Dropped and
// Unacknowledged.
type PublisherStats struct {
	Published      uint64 // Redis has acknowledged them
	NoReceivers    uint64 // of these, nobody was subscribed
	Rejected       uint64 // could not be encoded, the channel was forbidden, or Redis hung up on them
	Dropped        uint64 // not sent: too many waited, or the bus was closed
	Unacknowledged uint64 // sent, and the bus was closed before an answer came
	Resent         uint64 // sent again, because the answer was lost

	Waiting      int       // held in this moment, without the bus's queue
	Disconnected bool      // Redis did not answer the last try
	Since        time.Time // of the last change of Away; zero if there was none
	LastError    error     // of the last message that failed; nil if none did
}

// NewPublisher returns a publisher over a client that the caller keeps and
// closes, after the bus. It should have finite timeouts, as go-redis's defaults
// are; while one runs, Redis's silence is waited for.
//
// From the first message until [Publisher.Close] it keeps one connection of the
// client's pool for itself. Where others use the client too, another publisher
// or the caller, PoolSize must leave one for them: of a pool of one, they wait
// for a connection in vain.
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
	p := &Publisher{
		config: config, sender: pipeline.New(client), refused: make(map[string]bool),
		chains: script.New(client), branches: make(map[string]int64),
	}
	p.config.StreamMaxLen = cmp.Or(config.StreamMaxLen, 100_000)
	p.config.MaxBackoff = cmp.Or(config.MaxBackoff, 2*time.Second)
	if config.Logger == nil {
		p.config.Logger = slog.Default()
	}
	return p
}

// mustServe panics with what is wrong with a client.
func mustServe(what string, client redis.UniversalClient) {
	switch client {
	case nil, (*redis.Client)(nil), (*redis.ClusterClient)(nil):
		panic(fmt.Sprintf("tracbus: %s needs a Redis client, got nil", what))
	}
	switch client.(type) {
	case *redis.Client, *redis.ClusterClient:
	default:
		panic(fmt.Sprintf("tracbus: %s needs a *redis.Client or *redis.ClusterClient, got %T", what, client))
	}
}

// Stats returns what was counted so far.
func (p *Publisher) Stats() PublisherStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

func (p *Publisher) countDropped(messages int) {
	p.count(func(s *PublisherStats) { s.Dropped += uint64(messages) })
}

func (p *Publisher) count(add func(*PublisherStats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add(&p.stats)
}

// Close gives the publisher's connection back to the client's pool, which
// matters only where the client is used on. Close the bus before.
func (p *Publisher) Close() {
	p.sending.Lock()
	defer p.sending.Unlock()
	p.sender.Close()
}

// HandleBatch publishes events. It is called by the bus, and returns when Redis
// has acknowledged them all or ctx has ended. While Redis works on one round
// trip, it prepares the next.
func (p *Publisher) HandleBatch(ctx context.Context, events []Event) error {
	if p.config.StreamKey != "" {
		return fmt.Errorf("publish: PublisherConfig.Stream is %q: expected a relay's call, as under Durable, and got one of HandleBatch, which appends to no stream", p.config.StreamKey)
	}
	p.sending.Lock()
	defer p.sending.Unlock()
	var preparing sync.WaitGroup
	defer preparing.Wait()

	box, spare := &p.boxes[0], &p.boxes[1]
	rest := p.encode(box, events)
	for {
		next := rest
		if len(rest) > 0 {
			preparing.Go(func() { next = p.encode(spare, rest) })
		}
		err := p.send(ctx, box)
		preparing.Wait()
		switch {
		case err != nil && len(rest) > 0:
			p.countDropped(len(spare.messages) + p.published(next))
			fallthrough
		case err != nil:
			return fmt.Errorf("publish: %w", err)
		case len(rest) == 0:
			return nil
		}
		box, spare, rest = spare, box, next
	}
}

// published counts the events that are published at all.
func (p *Publisher) published(events []Event) (n int) {
	for _, e := range events {
		if p.wants(e) {
			n++
		}
	}
	return n
}

// wants says whether e is published at all: the bus queues nothing else.
func (p *Publisher) wants(e Event) bool {
	if !hasPayload(e) || slices.Contains(p.config.SkipRealms, e.Resource().Realm) {
		return false
	}
	if _, ours := e.(message); !ours {
		return true // whoever gave it a payload wants that
	}
	switch e.Kind() {
	case KindCreated, KindChanged, KindDeleted:
		return true
	}
	return p.config.ExtraEvents
}
