package tracbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn"
	"github.com/tracbus/tracbus/internal/stream"
)

// SubscriberConfig says what a [Subscriber] listens to.
type SubscriberConfig struct {
	// Prefix is the first part of the channels, as in [PublisherConfig]. Zero
	// means [DefaultPrefix], unless NoPrefix is set. A channel that does not
	// begin with it is understood nevertheless; see [Decode].
	Prefix string

	// NoPrefix says that channels have no prefix.
	NoPrefix bool

	// PingAfter is how long Redis may be silent before it is asked with a PING
	// whether it is still there. If it does not answer in the same time again,
	// the connection is given up. A message, or a part of a stream, may take longer
	// over a slow network, of 1 KiB a second and more. Zero means 15 s.
	PingAfter time.Duration

	// MaxBackoff bounds the pause between tries to connect, which begins at
	// 25 ms and doubles. Zero means 2 s.
	MaxBackoff time.Duration
}

// Pattern returns the pattern of all channels of the prefix.
func (c SubscriberConfig) Pattern() string {
	prefix := prefixOf(c.Prefix, c.NoPrefix)
	if prefix == "" {
		return "*"
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(prefix) + ".*"
}

// Subscriber receives what a [Publisher] or the original plugin publishes. It has
// connections only within [Subscriber.Events] and [Subscriber.Stream]. It may be
// used concurrently.
type Subscriber struct {
	client redis.UniversalClient
	config SubscriberConfig // with defaults
}

// ErrDisconnected is yielded, wrapped, by [Subscriber.Events] and
// [Subscriber.Stream] when their connection is lost or cannot be made, or Redis
// does not serve it. The text says which, and what to do.
var ErrDisconnected = errors.New("not connected to Redis")

// disconnected wraps ErrDisconnected and its cause. If that is an answer of Redis,
// the text does not say that there was no connection.
func disconnected(cause error) error {
	if redisconn.IsReply(cause) {
		return refusal{cause}
	}
	return fmt.Errorf("%w: %w", ErrDisconnected, cause)
}

type refusal struct{ error }

func (r refusal) Error() string   { return "Redis refuses: " + r.error.Error() }
func (r refusal) Unwrap() []error { return []error{ErrDisconnected, r.error} }

// ErrStreamEntry is wrapped by the [DecodeError] for an entry of a stream that no
// [Publisher] has appended.
var ErrStreamEntry = errors.New("not an entry of a publisher's stream")

// NewSubscriber returns a subscriber that connects as the client does: each loop
// makes a connection of its own with the client's settings. The caller keeps the
// client and closes it. An ACL user needs "+psubscribe" and the channels. Redis
// compares the patterns of both as texts, so that a user with "&trac.*" may not
// subscribe to "trac.*.wiki.*". It panics as [NewPublisher] does.
func NewSubscriber(client redis.UniversalClient, config SubscriberConfig) *Subscriber {
	mustServe("NewSubscriber", client)
	if config.PingAfter < 0 || config.MaxBackoff < 0 {
		panic("tracbus: SubscriberConfig needs PingAfter and MaxBackoff from zero")
	}
	config.Prefix = prefixOf(config.Prefix, config.NoPrefix)
	config.PingAfter = cmp.Or(config.PingAfter, 15*time.Second)
	config.MaxBackoff = cmp.Or(config.MaxBackoff, 2*time.Second)
	return &Subscriber{client: client, config: config}
}

// Events subscribes to patterns, in Redis's notation ("trac.*", "trac.?.wiki.*",
// "[ab]"); without any, to all channels of the prefix. It yields each message as
// one event, as it comes, until the loop is left or ctx ends. A message that
// matches two of the patterns comes twice, as Redis sends it.
//
// The first event is a [Resync] with reason [ResyncSubscribed], yielded when the
// subscription exists: a program that loads a state then misses nothing after it.
// Another Resync, with reason [ResyncReconnected], follows whenever the
// connection was lost: what was published meanwhile is lost to this subscriber. If
// it leads to another server now, or to one that was restarted, two more follow, after
// 6 s and after a minute: so long a [Publisher] may have gone on at the server
// before. One that cannot find out for a minute where its client would connect, and a
// publisher of another kind, may do so for longer, unnoticed. The connection is also
// given up, within seconds, when the client would connect to another server now. In a
// cluster a Resync follows, too, when a connection between nodes broke on which
// messages may have been lost.
//
// Errors do not end the loop. They are a [*DecodeError] for a message that is no
// event, and one that wraps [ErrDisconnected] each time the connection is lost,
// or cannot be made at the beginning; and again if Redis or a Sentinel then refuses
// another one, once for each reason. In a cluster one more says, once, if Redis does
// not tell of connections between its nodes, which needs Redis 7 and the right
// "+cluster|links"; elsewhere, if it does not tell which server it is: "+info".
//
// While the loop's body works, nothing is received. Redis gives up on a reader
// that lags too far (client-output-buffer-limit), and the loop reports a lost
// connection: nothing is dropped in silence.
func (s *Subscriber) Events(ctx context.Context, patterns ...string) iter.Seq2[Event, error] {
	if len(patterns) == 0 {
		patterns = []string{s.config.Pattern()}
	}
	return s.events(ctx, patterns, true)
}

// events does the same. links says that messages may come from any node of a
// cluster.
func (s *Subscriber) events(ctx context.Context, patterns []string, links bool) iter.Seq2[Event, error] {
	config := redisconn.ListenConfig{
		Patterns:  slices.Compact(slices.Sorted(slices.Values(patterns))), // each is confirmed once
		PingAfter: s.config.PingAfter, MaxBackoff: s.config.MaxBackoff, Links: links,
	}
	return func(yield func(Event, error) bool) {
		for step := range redisconn.Listen(ctx, s.client, config) {
			if !yield(s.event(step)) {
				return
			}
		}
	}
}

func (s *Subscriber) event(step redisconn.Step) (Event, error) {
	switch {
	case step.Lost != nil:
		return nil, fmt.Errorf("subscribe: %w", disconnected(step.Lost))
	case step.Unwatched != nil:
		return nil, fmt.Errorf("subscribe: %w", step.Unwatched)
	case step.Message != nil:
		return Decode(s.config.Prefix, step.Message.Channel, step.Message.Payload)
	case step.Again:
		return receivedResync(ResyncReconnected), nil
	}
	return receivedResync(ResyncSubscribed), nil
}

// receivedResync returns a Resync that a subscriber yields now.
func receivedResync(reason ResyncReason) Resync {
	return Resync{
		Change: Change{Time: time.Now().UTC().Truncate(time.Microsecond), Absent: AttrAuthor | AttrComment | AttrOrigin},
		Reason: reason,
	}
}

// StreamEntry is one step of [Subscriber.Stream].
type StreamEntry struct {
	// ID is what to give to [Subscriber.Stream] to go on after this step. Of a
	// change it is the entry's id in the stream, of anything else the place of
	// the loop. It is empty only of an error while the place to begin at is not
	// known yet.
	ID string

	// Event is the change, or a [Resync]; nil beside an error.
	Event Event

	// Channel and Payload are the message that was published with the entry.
	// They are empty if the step is not an entry.
	Channel, Payload string
}

// Stream reads the stream that a [Publisher] under [Durable] appends to, at the key
// that is its [PublisherConfig.StreamKey]: each change once, in the journal's order,
// including those that were made while nobody read. It goes on until the loop is
// left or ctx ends.
//
// after is the ID of the last entry that was handled: the loop goes on after it.
// "0" begins with the oldest entry that is kept, "" after the newest. To continue
// where it stopped, a program saves [StreamEntry.ID] of each step when it has
// handled it. A change that was handled, but not saved, comes again.
//
// An event is the journal's own, except for what its message does not carry: the
// values of a ticket that did not change, unless [PublisherConfig.FullNewValues] is
// set, and which attributes of a page were null rather than zero. Primary is not
// filled in.
//
// Every gap is reported, by a [Resync] before the entry after it. Its reason is
//   - [ResyncSubscribed], first of all, if after is "0" or "": what came before is
//     not known. A program that loads a state then misses nothing after it.
//   - [ResyncStreamTrimmed]: the stream did not keep what comes next.
//   - [ResyncStreamReset]: Redis was emptied, or the journal's history went back.
//     What follows may have been yielded before.
//
// A Redis that lost its last writes is filled again by the publisher. Until then
// the loop waits, and it yields no change again. If the stream does not come back
// to where it was within 30 s, the loop yields a [ResyncStreamReset] and goes on
// with what there is. A key that does not exist is a stream without entries.
//
// Errors do not end the loop, except one that says that after is no id. They are
//   - a [*DecodeError] for an entry that is no event; ID, Channel and Payload of
//     the entry are there too.
//   - an error that wraps [ErrDisconnected], each time the connection is lost, or
//     cannot be made at the beginning; and again as [Subscriber.Events] says.
//   - any other error for what Redis refuses, such as a key of another type or a
//     missing right, or for an entry that is too large to be read, which the error
//     names. It is yielded once, and reading is tried again.
//
// The loop's body may be slow: at most 256 entries are held in memory, and fewer that
// are large. A server that closes idle connections makes that an ErrDisconnected,
// and no loss. An ACL user needs "+xread +xinfo +info" and the key.
//
// Programs in other languages, and several that share the work, read the same
// stream as a consumer group:
//
//	redis-cli XGROUP CREATE trac:stream mailers 0 MKSTREAM     # 0: all that is kept; $: from now
//	redis-cli XREADGROUP GROUP mailers one COUNT 10 BLOCK 5000 STREAMS trac:stream '>'
//	redis-cli XACK trac:stream mailers 4711-0                  # handled
//	redis-cli XAUTOCLAIM trac:stream mailers two 60000 0       # what another consumer left
//
// The fields channel and payload are the message. The field before is the id of
// the entry before: if that is not the one read last, some were trimmed. The tid
// is the id's first number modulo 2^48.
func (s *Subscriber) Stream(ctx context.Context, key, after string) iter.Seq2[StreamEntry, error] {
	config := stream.Config{Key: key, PingAfter: s.config.PingAfter, MaxBackoff: s.config.MaxBackoff, Refill: 30 * time.Second}
	return func(yield func(StreamEntry, error) bool) {
		items, err := stream.Read(ctx, s.client, config, after)
		if err != nil {
			yield(StreamEntry{}, fmt.Errorf("stream %q: go on after %w", key, err))
			return
		}
		for item := range items {
			if !yield(s.streamEntry(key, item)) {
				return
			}
		}
	}
}

func (s *Subscriber) streamEntry(key string, item stream.Item) (StreamEntry, error) {
	e := StreamEntry{ID: item.ID}
	switch {
	case item.Refused:
		return e, fmt.Errorf("stream %q: %w", key, item.Err)
	case item.Err != nil:
		return e, fmt.Errorf("stream %q: %w", key, disconnected(item.Err))
	case item.Gap != nil:
		e.Event = resyncOf(*item.Gap)
		return e, nil
	}
	entry, err := stream.ParseEntry(item.ID, item.Fields)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrStreamEntry, err)
	} else {
		e.Event, err = eventOfEntry(s.config.Prefix, entry)
	}
	e.Channel, e.Payload = entry.Channel, entry.Payload
	if err != nil {
		return e, &DecodeError{e.Channel, e.Payload, fmt.Errorf("entry %s: %w", item.ID, err)}
	}
	return e, nil
}

func resyncOf(gap stream.Gap) Resync {
	reasons := map[stream.Reason]ResyncReason{stream.Begun: ResyncSubscribed, stream.Trimmed: ResyncStreamTrimmed, stream.Reset: ResyncStreamReset}
	e := receivedResync(reasons[gap.Reason])
	e.After, e.Through = gap.After, gap.Through
	return e
}

// eventOfEntry returns the event of an entry's message, completed by what the
// entry says beside it.
func eventOfEntry(prefix string, entry stream.Entry) (Event, error) {
	e, err := decode(prefix, entry.Channel, entry.Payload)
	if err != nil {
		return nil, err
	}
	c := e.About() // Env, Null and Absent are the message's
	c.TID, c.Seq, c.CommitID, c.Time = entry.TID, entry.Seq, entry.CommitID, entry.Time
	c.Author, c.IPNR, c.Authenticated, c.Comment = entry.Author, entry.IPNR, entry.Authenticated, entry.Comment
	c.Trace = Trace(entry.Trace)
	c.Absent &^= AttrOrigin
	restore := func(values Fields, times []string) {
		if err == nil {
			err = stream.RestoreTimes(values, times)
		}
	}
	switch e := e.(type) {
	case TicketCreated:
		restore(e.Values, entry.Times)
		c = c.ofTicket(AttrAuthor | AttrComment)
	case TicketDeleted:
		restore(e.Values, entry.Times)
		c = c.ofTicket(AttrAuthor | AttrComment)
	case TicketChanged:
		restore(e.Values, entry.Times)
		restore(e.New, entry.Times)
		restore(e.Old, entry.OldTimes)
		c = c.ofTicket(0)
	case TicketChangeDeleted:
		restore(e.New, entry.Times)
		restore(e.Old, entry.OldTimes)
		c = c.ofTicket(0)
	case TicketCommentEdited:
		c = c.ofTicket(0)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStreamEntry, err)
	}
	return e.WithChange(c), nil
}

// ofTicket returns c with attributes that a ticket's message does not have, but
// its entry has. Of a page these attributes are the version's, and the message
// has them.
func (c Change) ofTicket(has Attrs) Change {
	c.Absent &^= has | AttrTime
	if c.Time.IsZero() {
		c.Null |= AttrTime
	}
	return c
}
