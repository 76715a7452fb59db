package stream

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn"
)

const (
	maxBatch = 256             // entries in one read, if they are not large
	maxBlock = 5 * time.Second // until the loop looks whether the stream fell back

	maxSent = 5 // nodes of a cluster that send to each other are an error

	// maxBlockOfNode is the same in a cluster: a key that moves to another node
	// while a read waits for it wakes nobody.
	maxBlockOfNode = time.Second
)

// loop is one loop over [Read].
type loop struct {
	router *redisconn.Router
	config Config
	yield  func(Item) bool

	place place
	state state
	count int64 // of entries in one read: fewer than maxBatch if so many are too large

	unreadable ID // an entry that is too large, after which the loop was told to begin

	to       *redisconn.Redirection // where the node sent the loop that has the stream no more, or nil
	sent     int                    // how often, since entries could be read
	left     bool                   // the caller left the loop
	readable bool                   // entries could be read in this session
	told     bool                   // the caller knows that it may be elsewhere unnoticed
	outage   redisconn.Outage       // why there is no connection, or was none
	refusals redisconn.Outage       // why there is one on which they cannot
}

// session connects and reads until the connection is lost, ctx ends or the
// caller leaves the loop.
func (l *loop) session(ctx context.Context) error {
	l.readable = false
	to := l.to
	l.to = nil
	r, err := newReader(ctx, l.router, l.config, to)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.conn.Unwatched(); err != nil && !l.told {
		l.told = true
		if l.left = !l.yield(Item{ID: l.resumeAt(), Err: l.router.Explain(err), Refused: true}); l.left {
			return nil
		}
	}
	err = l.read(ctx, r)
	if to, elsewhere := redisconn.RedirectionOf(err, r.conn.Place().Addr); elsewhere && l.router.Follows() {
		l.to = &to
	}
	return err
}

// read reads over a connection until it is lost, ctx ends or the caller leaves the
// loop.
func (l *loop) read(ctx context.Context, r *reader) (err error) {
	if _, finds := l.state.(finding); !finds { // else there is no place to look for
		if err := l.look(r); err != nil {
			return err
		}
	}
	for !l.left && ctx.Err() == nil {
		if s, finds := l.state.(finding); finds {
			err = l.start(ctx, r, s)
		} else {
			err = l.follow(ctx, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// start finds the place to begin at and yields the gap.
func (l *loop) start(ctx context.Context, r *reader, s finding) error {
	at := "0"
	entries, err := l.oldest(r, s)
	if err == nil && len(entries) == 0 {
		if at, err = r.last(); err == nil {
			entries, err = l.oldest(r, s) // again: the first may have come meanwhile, and would be passed over
		}
	}
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		at = "0"
	}
	id, err := ParseID(at)
	if err != nil {
		return err
	}
	after := l.place.after()
	l.place.id, l.place.commit = id, ""
	if s.reason == Begun { // else the next entry may name what was read before
		l.place.linked = id
	}
	l.state = following{first: len(entries) > 0}
	l.canRead()
	l.larger(r, entries)
	l.gap(at, Gap{Reason: s.reason, After: after})
	return l.take(ctx, r, entries)
}

// oldest reads the first entries, if the loop is to begin with them.
func (l *loop) oldest(r *reader, s finding) ([]redis.XMessage, error) {
	if !s.oldest {
		return nil, nil
	}
	return r.read(ID{}, l.count, 0)
}

// follow reads what comes after the place, once. If nothing comes, or if the
// stream has fallen, it looks whether the stream is what it was.
func (l *loop) follow(ctx context.Context, r *reader) error {
	s, fell := l.state.(fallen)
	block := max(min(maxBlock, l.config.PingAfter), time.Millisecond)
	if r.conn.Place().Cluster {
		block = min(block, maxBlockOfNode)
	}
	if fell {
		block = max(min(block, l.config.Refill-s.waited), time.Millisecond)
	}
	asked := time.Now()
	entries, err := r.read(l.place.id, l.count, block)
	if err != nil {
		return err
	}
	l.canRead()
	l.larger(r, entries)
	if fell || len(entries) == 0 {
		if fell {
			s.waited += time.Since(asked)
			l.state = s
		}
		before := l.place.id
		if err := l.look(r); err != nil {
			return err
		}
		if _, finds := l.state.(finding); finds || l.place.id != before {
			return nil // entries are not those after the place any more
		}
	}
	return l.take(ctx, r, entries)
}

// canRead notes that entries can be read.
func (l *loop) canRead() {
	l.readable, l.sent = true, 0
	l.outage, l.refusals = redisconn.Outage{}, redisconn.Outage{}
}

// smaller has the next read take half as many entries, if err is that those of the
// last one were too large together. One that is too large alone stays an error, unless
// the loop only looks whether it is there.
func (l *loop) smaller(err error) bool {
	large, ok := errors.AsType[*TooLargeError](err)
	switch {
	case !ok:
		return false
	case large.Count > 1:
		l.count = large.Count / 2
	case large.Count == 1 && large.ID == l.place.id.String():
		l.unreadable = l.place.id
	default:
		return false
	}
	return true
}

// larger has the next read take twice as many entries, if those just read were as many
// as were asked for, and so small that the double is far from too large.
func (l *loop) larger(r *reader, entries []redis.XMessage) {
	if int64(len(entries)) == l.count && r.conn.Got() < int64(r.conn.MaxAnswer())/4 {
		l.count = min(2*l.count, maxBatch)
	}
}
