package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn"
)

// take yields entries, and the gap before each if there is one.
func (l *loop) take(ctx context.Context, r *reader, entries []redis.XMessage) error {
	for _, m := range entries {
		if l.left || ctx.Err() != nil {
			return nil
		}
		id, err := ParseID(m.ID)
		if err != nil {
			return fmt.Errorf("entry with %w", err)
		}
		before, linked := previousOf(m.Values)
		s, follows := l.state.(following)
		if linked && !s.first {
			if goesOn, err := l.compare(r, id, before); !goesOn || err != nil || l.left {
				return err
			}
		}
		if follows {
			l.state = following{}
		}
		l.place.id, l.place.commit = id, commitOf(m.Values)
		if linked { // else the next entry may name what this one should have named
			l.place.linked = id
		}
		l.left = !l.yield(Item{ID: m.ID, Fields: m.Values})
	}
	return nil
}

// compare checks whether the entry that the next one names as the one before it
// was read last, and yields the gap if it was not. It returns false if the next
// entry is to be looked for elsewhere.
func (l *loop) compare(r *reader, id, before ID) (bool, error) {
	after := l.place.after()
	switch {
	case id.generation() != l.place.linked.generation():
		at := before.String()
		if before == (ID{}) {
			at = l.place.id.String() // after 0-0, all that is kept of the old generation would come again
		}
		l.gap(at, Gap{Reset, after, before.tid()})
	case before == l.place.id || before == l.place.linked:
	case before.compare(l.place.id) > 0:
		l.gap(before.String(), Gap{Trimmed, after, before.tid()})
	default:
		// What was read last is not part of this history. There may be entries of
		// it before the place, unless the stream only lies about its order.
		found, commit, err := l.find(r)
		if err != nil {
			return false, err
		}
		if !found || commit != l.place.commit {
			l.restart()
			return false, nil
		}
		l.gap(l.place.id.String(), Gap{Reason: Reset, After: after})
	}
	return true, nil
}

// gap yields a gap, with the id after which to go on.
func (l *loop) gap(at string, g Gap) { l.left = !l.yield(Item{ID: at, Gap: &g}) }

// failed yields why nothing can be read: each reason once, until something can
// be read again.
func (l *loop) failed(err error) {
	err = l.router.Explain(err)
	refused := refused(err)
	news := false
	if refused {
		news = l.refusals.News(err.Error())
	} else {
		news = l.outage.News(redisconn.ReasonFor(err))
	}
	if news {
		l.left = !l.yield(Item{ID: l.resumeAt(), Err: err, Refused: refused})
	}
}

// refused says whether Redis answers, but does not permit to read, or has an entry
// that cannot be read.
func refused(err error) bool {
	return errors.As(err, new(*TooLargeError)) || redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "WRONGTYPE")
}
