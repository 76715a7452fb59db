package stream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn"
)

const (
	maxBatch = 256             // entries in one read
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

	to       *redisconn.Redirection // where the node sent the loop that has the stream no more, or nil
	sent     int                    // how often, since entries could be read
	left     bool                   // the caller left the loop
	readable bool                   // entries could be read in this session
	told     bool                   // the caller knows that it may be elsewhere unnoticed
	reported map[string]bool        // errors since entries could be read
}

// session connects and reads until the connection is lost, ctx ends or the
// caller leaves the loop.
func (l *loop) session(ctx context.Context) error {
	l.readable = false
	to := l.to
	l.to = nil
	conn, err := redisconn.NewStreamReader(ctx, l.router, l.config.Key, to, l.config.PingAfter)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Unwatched(); err != nil && !l.told {
		l.told = true
		if l.left = !l.yield(Item{ID: l.resumeAt(), Err: l.router.Explain(err), Refused: true}); l.left {
			return nil
		}
	}
	err = l.read(ctx, conn)
	if to, elsewhere := redisconn.RedirectionOf(err, conn.Place().Addr); elsewhere && l.router.Follows() {
		l.to = &to
	}
	return err
}

// read reads over a connection until it is lost, ctx ends or the caller leaves the
// loop.
func (l *loop) read(ctx context.Context, conn *redisconn.StreamReader) (err error) {
	if _, finds := l.state.(finding); !finds { // else there is no place to look for
		if err := l.look(conn); err != nil {
			return err
		}
	}
	for !l.left && ctx.Err() == nil {
		if s, finds := l.state.(finding); finds {
			err = l.start(ctx, conn, s)
		} else {
			err = l.follow(ctx, conn)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// start finds the place to begin at and yields the gap.
func (l *loop) start(ctx context.Context, conn *redisconn.StreamReader, s finding) error {
	var entries []redis.XMessage
	var err error
	if s.oldest {
		if entries, err = conn.Read("0-0", maxBatch, 0); err != nil {
			return err
		}
	}
	at := "0"
	if len(entries) == 0 {
		if at, err = conn.Last(); err != nil {
			return err
		}
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
	l.gap(at, Gap{Reason: s.reason, After: after})
	return l.take(ctx, conn, entries)
}

// follow reads what comes after the place, once. If nothing comes, or if the
// stream has fallen, it looks whether the stream is what it was.
func (l *loop) follow(ctx context.Context, conn *redisconn.StreamReader) error {
	s, fell := l.state.(fallen)
	block := max(min(maxBlock, l.config.PingAfter), time.Millisecond)
	if conn.Place().Cluster {
		block = min(block, maxBlockOfNode)
	}
	if fell {
		block = max(min(block, l.config.Refill-s.waited), time.Millisecond)
	}
	asked := time.Now()
	entries, err := conn.Read(l.place.id.String(), maxBatch, block)
	if err != nil {
		return err
	}
	l.canRead()
	if fell || len(entries) == 0 {
		if fell {
			s.waited += time.Since(asked)
			l.state = s
		}
		before := l.place.id
		if err := l.look(conn); err != nil {
			return err
		}
		if _, finds := l.state.(finding); finds || l.place.id != before {
			return nil // entries are not those after the place any more
		}
	}
	return l.take(ctx, conn, entries)
}

// canRead notes that entries can be read.
func (l *loop) canRead() {
	l.readable, l.sent = true, 0
	clear(l.reported)
}
