package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// dial makes a connection as a client does, but returns as soon as the context
// ends. The dialers of the clients that we make end with it. Those of go-redis do
// not while they encrypt or ask Sentinels: such an attempt is left to its own
// time-out, and what comes of it is closed. Nobody waits for that goroutine, nor for
// those that do not end with their context in council.told and council.remembered: all
// others of this package have ended when what they belong to is closed.
func dial(parent context.Context, o *redis.Options) (net.Conn, error) {
	ctx, cancel := within(parent, o.DialTimeout)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	attempt, end := outlasting(parent, ctx, o)
	done := make(chan result, 1)
	var settled atomic.Bool // there is a result, or nobody waits for one
	go func() {
		defer end()
		conn, err := o.Dialer(attempt, o.Network, o.Addr)
		if !settled.Swap(true) {
			done <- result{conn, err}
		} else if err == nil {
			_ = conn.Close()
		}
	}()
	select {
	case r := <-done:
		return r.conn, r.err
	case <-ctx.Done():
	}
	timer := time.NewTimer(lateDial)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.conn, r.err
	case <-timer.C:
	}
	if settled.Swap(true) {
		r := <-done
		return r.conn, r.err
	}
	return nil, fmt.Errorf("dial %s: %w", o.Addr, ctx.Err())
}

// outlasting returns the context for the dialer itself. With Sentinels it outlasts
// the attempt, unless that is cancelled: go-redis keeps a Sentinel that stands still
// if the context ends before its own time-outs have, and asks no other one.
func outlasting(parent, ctx context.Context, o *redis.Options) (context.Context, context.CancelFunc) {
	if !bySentinel(o) {
		return ctx, func() {}
	}
	attempt, cancel := context.WithTimeout(context.WithoutCancel(parent), sentinelsTake)
	stop := context.AfterFunc(parent, func() {
		if errors.Is(parent.Err(), context.Canceled) {
			cancel()
		}
	})
	return attempt, func() { stop(); cancel() }
}

// sentinelsTake is how long go-redis may ask its Sentinels. It asks one that stands
// twice four times, each time for its read time-out, before it asks the others.
const sentinelsTake = 2 * time.Minute

// lateDial is how long a dialer is waited for whose context has ended. One that
// looks at its context takes no longer.
const lateDial = 50 * time.Millisecond
