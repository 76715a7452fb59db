package tracbus

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn"
)

// Stream reads the stream that a [Publisher] under [Durable] appends to, at the key
// that is its [PublisherConfig.StreamKey]: each change once, in the journal's order,
// also those that were made while nobody read. It goes on until the loop is left
// or ctx ends.
//
// after is the ID of the last entry that was handled: the loop goes on behind
// it. "0" begins at the oldest entry that is kept, "" behind the newest. To go on
// where it stopped, a program saves [StreamEntry.ID] of each step when it has
// handled it. A change that was handled, but not saved, comes again.
//
// An event is the journal's own but for what its message does not carry: the
// values of a ticket that did not change, unless [PublisherConfig.FullNewValues] is
// set, and which parts of a page were null rather than zero. Primary is not
// filled in.
//
// Every gap is told, by a [Resync] in front of the entry behind it; that nothing
// is missing is not. Its reason is
//   - [ResyncSubscribed], first of all, where after is "0" or "": what came before is
//     not known. A state that is loaded then, misses nothing after it.
//   - [ResyncStreamTrimmed]: the stream did not keep what comes next.
//   - [ResyncStreamReset]: Redis was emptied, or the journal's history went back; what
//     follows may partly be what was told before.
//
// A Redis that lost what it had last is filled again by the publisher. Until then
// the loop waits; what was told before is not told twice. If the stream does not
// come back to where it was within 30 s, the loop tells Restarted and goes on
// with what there is. A key that does not exist is a stream without entries.
//
// Errors do not end the loop. They are a [*DecodeError] for an entry that is no
// event, whose ID, channel and payload stand beside it; one that wraps
// [ErrDisconnected] each time the connection is lost, or cannot be made at the
// beginning; and any other for what Redis refuses, as with a key of another type
// or without the right to it: it is told once, and tried again. The one error
// that ends the loop is that after is no id.
//
// The loop's body may be slow: at most 256 entries are held in memory. A server
// that closes idle connections makes that an ErrDisconnected, and no loss. An ACL
// user needs "+xread +xinfo" and the key.
//
// Programs in other languages, and several that share the work, read the same
// stream as a consumer group:
//
//	redis-cli XGROUP CREATE trac:stream mailers 0 MKSTREAM     # 0: all that is kept; $: from now
//	redis-cli XREADGROUP GROUP mailers one COUNT 10 BLOCK 5000 STREAMS trac:stream '>'
//	redis-cli XACK trac:stream mailers 4711-0                  # handled
//	redis-cli XAUTOCLAIM trac:stream mailers two 60000 0       # what another left behind
//
// The fields channel and payload are the message; before is the id of the entry
// in front: if that is not the one read last, some were trimmed. The tid is the
// id's first number modulo 2^48.
func (s *Subscriber) Stream(ctx context.Context, key, after string) iter.Seq2[StreamEntry, error] {
	return func(yield func(StreamEntry, error) bool) {
		r := streamReader{subscriber: s, key: key, yield: yield, said: make(map[string]bool)}
		if err := r.from(after); err != nil {
			yield(StreamEntry{}, fmt.Errorf("stream %q: go on behind %w", key, err))
			return
		}
		for try := 0; ; try++ {
			err := r.session(ctx)
			if r.left || ctx.Err() != nil {
				return
			}
			if r.stood {
				try = 0
			}
			redisconn.Refresh(ctx, s.client) // the key may have moved
			if r.failed(err); r.left || !s.pause(ctx, try) {
				return
			}
		}
	}
}

const (
	streamBatch = 256             // entries in one read
	streamBlock = 5 * time.Second // at most, until it is looked whether the stream fell back
)

// streamReader is one loop over [Subscriber.Stream].
type streamReader struct {
	subscriber *Subscriber
	key        string
	yield      func(StreamEntry, error) bool

	left  bool            // the caller has left the loop
	stood bool            // entries could be read in this session
	said  map[string]bool // what the caller was told since they could be read

	begin  ResyncReason // what to tell at the place it begins at, not known yet; else empty
	oldest bool         // that place is the oldest entry; else behind the newest
	any    bool         // the next entry is the first: nothing comes before

	place streamID // the entry read last
	chain streamID // what the next entry may name as the one before it, beside place
	mark  string   // of the entry at place; empty if not known

	fallen bool          // the stream's last id is below place
	lowest streamID      // how far it fell
	waited time.Duration // for it to come back, while connected
}

// from takes what the caller said where to begin.
func (r *streamReader) from(after string) (err error) {
	switch after {
	case "", "0":
		r.begin, r.oldest = ResyncSubscribed, after == "0"
	default:
		r.place, err = parseStreamID(after)
		r.chain = r.place
	}
	return err
}

// session connects and reads until the connection is lost, ctx ends or the
// caller leaves the loop.
func (r *streamReader) session(ctx context.Context) error {
	r.stood = false
	silence := r.subscriber.config.PingAfter
	conn, err := redisconn.NewReader(ctx, r.subscriber.client, r.key, silence)
	if err != nil {
		return err
	}
	defer conn.Close()
	if r.begin == "" { // else there is nothing to look for
		if err := r.look(conn); err != nil {
			return err
		}
	}
	for !r.left && ctx.Err() == nil {
		if r.begin != "" {
			if err := r.start(ctx, conn); err != nil {
				return err
			}
			continue
		}
		block := max(min(streamBlock, silence), time.Millisecond)
		if r.fallen {
			block = max(min(block, r.subscriber.refill-r.waited), time.Millisecond)
		}
		asked := time.Now()
		entries, err := conn.Read(r.place.String(), streamBatch, block)
		if err != nil {
			return err
		}
		r.stands()
		if r.fallen || len(entries) == 0 {
			r.waited += time.Since(asked)
			place := r.place
			if err := r.look(conn); err != nil {
				return err
			}
			if r.begin != "" || r.place != place {
				continue // entries are not those behind the place any more
			}
		}
		if err := r.take(ctx, conn, entries); err != nil {
			return err
		}
	}
	return nil
}

// stands notes that entries can be read.
func (r *streamReader) stands() {
	r.stood = true
	clear(r.said)
}

// start finds the place to begin at and tells it.
func (r *streamReader) start(ctx context.Context, conn *redisconn.Reader) error {
	var entries []redis.XMessage
	var err error
	if r.oldest {
		if entries, err = conn.Read("0-0", streamBatch, 0); err != nil {
			return err
		}
	}
	behind, place, at := min(r.place.tid(), r.chain.tid()), streamID{}, "0"
	if len(entries) == 0 {
		if at, err = conn.Last(); err != nil {
			return err
		}
	}
	if place, err = parseStreamID(at); err != nil {
		return err
	}
	reason := r.begin
	r.place, r.mark, r.any, r.begin = place, "", len(entries) > 0, ""
	if reason == ResyncSubscribed { // else the next entry may name what was told before
		r.chain = place
	}
	r.stands()
	r.tell(at, reason, behind, 0)
	return r.take(ctx, conn, entries)
}

// look finds out whether the stream has what was read last. Where it has less, it
// is waited for; where it has something else, its history is another.
func (r *streamReader) look(conn *redisconn.Reader) error {
	found, mark, err := r.find(conn)
	if err != nil || r.place == (streamID{}) {
		return err
	}
	last := r.place
	if !found {
		id, err := conn.Last()
		if err != nil {
			return err
		}
		if last, err = parseStreamID(id); err != nil {
			return err
		}
	}
	if last.compare(r.place) < 0 {
		if !r.fallen || last.compare(r.lowest) < 0 {
			r.lowest = last
		}
		if !r.fallen {
			r.fallen, r.waited = true, 0
		}
		if r.waited >= r.subscriber.refill {
			r.restart()
		}
		return nil
	}
	if found && r.mark != "" && mark != r.mark {
		r.restart()
		return nil
	}
	r.fallen = false
	if found {
		r.mark = mark
	}
	return nil
}

// find looks for the entry that was read last.
func (r *streamReader) find(conn *redisconn.Reader) (found bool, mark string, err error) {
	if r.place == (streamID{}) {
		return false, "", nil
	}
	entries, err := conn.Read(r.place.below().String(), 1, 0)
	if err != nil || len(entries) == 0 || entries[0].ID != r.place.String() {
		return false, "", err
	}
	mark, _ = entries[0].Values["mark"].(string)
	return true, mark, nil
}

// restart goes back to where the stream is not what it was: to where it fell, if
// that was seen, else to its beginning.
func (r *streamReader) restart() {
	if !r.fallen || r.lowest.branch() != r.place.branch() {
		r.begin, r.oldest = ResyncStreamReset, true
	} else {
		behind := min(r.place.tid(), r.chain.tid())
		r.place, r.mark = r.lowest, ""
		r.tell(r.place.String(), ResyncStreamReset, behind, 0)
	}
	r.fallen = false
}
