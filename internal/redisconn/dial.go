package redisconn

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// dial makes a connection as a client does, but returns as soon as the context
// ends. The dialers of the clients that we make end with it. Those of go-redis do
// not while they encrypt or ask Sentinels: such an attempt is left to its own
// time-out, and what comes of it is closed. That is the only goroutine of this
// package which nobody waits for.
func dial(ctx context.Context, o *redis.Options) (net.Conn, error) {
	ctx, cancel := within(ctx, o.DialTimeout)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	var settled atomic.Bool // there is a result, or nobody waits for one
	go func() {
		conn, err := o.Dialer(ctx, o.Network, o.Addr)
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

// lateDial is how long a dialer is waited for whose context has ended. One that
// looks at its context takes no longer.
const lateDial = 50 * time.Millisecond
