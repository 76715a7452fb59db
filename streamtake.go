package tracbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn"
)

// take yields entries, and the gap in front of one.
func (r *streamReader) take(ctx context.Context, conn *redisconn.Reader, entries []redis.XMessage) error {
	for _, m := range entries {
		if r.left || ctx.Err() != nil {
			return nil
		}
		id, err := parseStreamID(m.ID)
		if err != nil {
			return fmt.Errorf("entry with %w", err)
		}
		f := entryFields{fields: m.Values}
		before, known := f.before()
		if known && !r.any {
			if follows, err := r.follow(conn, id, before); !follows || err != nil || r.left {
				return err
			}
		}
		r.any = false
		r.place = id
		r.mark, _ = m.Values["mark"].(string)
		if known { // else the next entry may name what this one should have named
			r.chain = id
		}
		e := StreamEntry{ID: m.ID}
		e.Channel, _ = m.Values["channel"].(string)
		e.Payload, _ = m.Values["payload"].(string)
		e.Event, err = decodeEntry(r.subscriber.prefix, id, m.Values)
		r.left = !r.yield(e, err)
	}
	return nil
}

// follow compares the entry that the next one names as the one before it with
// what was read last, and tells what is missing between them. It is false if the
// next one is to be looked for elsewhere.
func (r *streamReader) follow(conn *redisconn.Reader, id, before streamID) (bool, error) {
	behind := min(r.place.tid(), r.chain.tid())
	switch {
	case id.branch() != r.chain.branch():
		at := before.String()
		if before == (streamID{}) {
			at = r.place.String() // from 0-0, all that is kept of the branch before would come again
		}
		r.tell(at, ResyncStreamReset, behind, before.tid())
	case before == r.place || before == r.chain:
	case before.compare(r.place) > 0:
		r.tell(before.String(), ResyncStreamTrimmed, behind, before.tid())
	default:
		// What was read last is none of this history. Entries of it may lie in
		// front of the place, unless the stream only lies about its order.
		found, mark, err := r.find(conn)
		if err != nil {
			return false, err
		}
		if !found || mark != r.mark {
			r.restart()
			return false, nil
		}
		r.tell(r.place.String(), ResyncStreamReset, behind, 0)
	}
	return true, nil
}

// tell yields a Resync with the place where the loop stands now.
func (r *streamReader) tell(at string, reason ResyncReason, behind, upTo int64) {
	e := Resync{
		Change: Change{Time: time.Now().UTC().Truncate(time.Microsecond), Absent: AttrAuthor | AttrComment | AttrOrigin},
		Reason: reason, After: behind, Through: upTo,
	}
	r.left = !r.yield(StreamEntry{ID: at, Event: e}, nil)
}

// failed tells the caller why nothing can be read: each reason once, until
// something can be read again.
func (r *streamReader) failed(err error) {
	why := ErrDisconnected.Error()
	if refused(err) {
		why = err.Error()
		err = fmt.Errorf("stream %q: %w", r.key, err)
	} else {
		err = fmt.Errorf("stream %q: %w: %w", r.key, ErrDisconnected, err)
	}
	if !r.said[why] {
		r.said[why] = true
		r.left = !r.yield(StreamEntry{ID: r.at()}, err)
	}
}

// refused says whether Redis is there, and does not want to.
func refused(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) &&
		(redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "WRONGTYPE"))
}

// at returns the place where the loop stands, as the caller may give it again.
func (r *streamReader) at() string {
	switch {
	case r.begin == "":
		return r.place.String()
	case r.oldest:
		return "0"
	}
	return ""
}
