// Package publish sends the messages of events to Redis, in batches. Its one
// secret is how large a round trip is, and what is prepared while one is on its
// way. There are two ways:
//
//   - [Publisher.Publish] sends in a pipeline and repeats what was not answered,
//     in order, until Redis has it (package pipeline).
//   - [Publisher.Send] calls a script that publishes only if Redis is at
//     the offset where the span begins, and tries once (package script).
//
// What an error of Redis in the middle of a batch leads to is in faults.go. An
// event is opaque to the package: whoever uses it brings a [Codec].
package publish

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/publish/pipeline"
	"github.com/tracbus/tracbus/internal/publish/script"
	"github.com/tracbus/tracbus/internal/redisconn/guard"
	"github.com/tracbus/tracbus/internal/store"
)

// Codec turns events into messages. Its methods are called concurrently.
type Codec[E any] interface {
	// Wants says whether e is published at all.
	Wants(e E) bool

	// Append appends e's channel, which ends at middle, and its payload.
	Append(dst []byte, e E) (_ []byte, middle int, err error)

	// Entry returns what a stream's entry has besides channel and payload.
	Entry(e E) Entry

	// Place returns the transaction that e is of, and its place in it.
	Place(e E) (tx store.Place, seq int)

	// Name returns e's channel, for errors and the log.
	Name(e E) string

	// Sort names what Redis forbids or allows together: of a sort, only the
	// first message that is rejected is logged.
	Sort(e E) string
}

// The bounds of a round trip: large enough that the way to Redis matters little,
// and small enough that Redis works on one while the next is encoded.
const (
	maxMessages = 256
	maxBytes    = 1 << 20
)

// maxMessage is the longest message that Redis takes and subscribers read, in bytes.
const maxMessage = guard.MaxString

// messageOf appends the message of an event, which may have so many bytes.
func messageOf[E any](codec Codec[E], dst []byte, e E, longest int) (_ []byte, middle int, err error) {
	start := len(dst)
	dst, middle, err = codec.Append(dst, e)
	if long := len(dst) - start; err == nil && long > longest {
		err = fmt.Errorf("a message of %d bytes: expected %d at most", long, longest)
	}
	return dst, middle, err
}

// Config is what both ways need to know. No field has a default.
type Config struct {
	StreamKey    string        // "" if there is no stream
	StreamMaxLen int64         // in entries, about
	StreamMaxAge time.Duration // 0 means any age
	MaxBackoff   time.Duration // between tries
	Logger       *slog.Logger
}

// Publisher publishes events of type E. It is a [consumer.Sink]. Its methods may be
// called concurrently.
type Publisher[E any] struct {
	stats *recorder

	sending  sync.Mutex // held through Publish and Send; guards what follows
	pipeline *pipelined[E]
	script   *scripted[E]
}

// New returns a publisher over a borrowed client, which it never closes.
func New[E any](client redis.UniversalClient, codec Codec[E], config Config) *Publisher[E] {
	_, cluster := client.(*redis.ClusterClient)
	r := &recorder{client: client, logger: config.Logger, rejected: make(map[string]bool)}
	return &Publisher[E]{
		stats:    r,
		pipeline: &pipelined[E]{recorder: r, codec: codec, sender: pipeline.New(client), maxBackoff: config.MaxBackoff, longest: maxMessage},
		script:   &scripted[E]{recorder: r, codec: codec, sender: script.New(client), config: config, cluster: cluster, longest: maxMessage},
	}
}

// Publish publishes events. It returns when Redis has acknowledged all of them or
// ctx has ended.
func (p *Publisher[E]) Publish(ctx context.Context, events []E) error {
	p.sending.Lock()
	defer p.sending.Unlock()
	return p.pipeline.publish(ctx, events)
}

// Send implements [consumer.Sink]. Redis is what keeps the offset.
func (p *Publisher[E]) Send(ctx context.Context, span consumer.Span, events []E) error {
	p.sending.Lock()
	defer p.sending.Unlock()
	return p.script.send(ctx, span, events)
}

// Stats returns what was counted so far.
func (p *Publisher[E]) Stats() Stats { return p.stats.get() }

// CountDropped counts messages that were dropped before they came here.
func (p *Publisher[E]) CountDropped(messages int) { p.stats.dropped(messages) }

// Leave closes, unless somebody else still sends.
func (p *Publisher[E]) Leave() {
	if !p.sending.TryLock() {
		return
	}
	defer p.sending.Unlock()
	p.hangUp()
}

// Close ends the connection. Whatever is sent next makes another one.
func (p *Publisher[E]) Close() {
	p.sending.Lock()
	defer p.sending.Unlock()
	p.hangUp()
}

func (p *Publisher[E]) hangUp() {
	p.pipeline.sender.Close()
	p.script.sender.Close()
}
