package redisconn

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"slices"
	"time"
)

// A Dialer makes the connections of the clients that the library makes. Unlike
// go-redis's own it ends with its context while it encrypts, too.
type Dialer struct {
	// TLS encrypts. Nil means plain text.
	TLS *tls.Config

	// Timeout is how long it may take. Zero means as long as the context.
	Timeout time.Duration

	// Sentinels are host:port of those that are asked for the server.
	Sentinels []string
}

// Dial connects, or answers [Where].
func (d Dialer) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if !slices.Contains(d.Sentinels, addr) && answer(ctx, addr) {
		return nil, errAnswered
	}
	plain := &net.Dialer{Timeout: d.Timeout, KeepAliveConfig: keepAlive}
	if d.TLS == nil {
		return plain.DialContext(ctx, cmp.Or(network, "tcp"), addr)
	}
	return (&tls.Dialer{NetDialer: plain, Config: d.TLS}).DialContext(ctx, network, addr)
}

// keepAlive is go-redis's: who does not answer three times after 30 s is gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}
