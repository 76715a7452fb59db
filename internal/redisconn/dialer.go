package redisconn

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/tracbus/tracbus/internal/redisconn/guard"
)

// A Dialer makes the connections of the clients that the library makes, and
// guards them. Unlike go-redis's own it ends with its context while it encrypts,
// too.
type Dialer struct {
	// TLS encrypts. Nil means plain text.
	TLS *tls.Config

	// Timeout is how long it may take. Zero means as long as the context.
	Timeout time.Duration

	// Secrets are the passwords for the servers and the Sentinels.
	Secrets []string
}

// Func returns the dialer as go-redis wants it.
func (d Dialer) Func() func(ctx context.Context, network, addr string) (net.Conn, error) {
	secrets := guard.NewSecrets(d.Secrets...)
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		note(ctx, addr)
		conn, err := d.connect(ctx, network, addr)
		if err != nil {
			return nil, secrets.HideError(err)
		}
		return guard.Wrap(conn, guard.Lent(), secrets), nil
	}
}

func (d Dialer) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.Timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, d.Timeout)
		defer cancel()
		ctx = limited
	}
	plain, err := (&net.Dialer{KeepAliveConfig: keepAlive}).DialContext(ctx, network, addr)
	if err != nil || d.TLS == nil {
		return plain, err
	}
	config := d.TLS
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	encrypted := tls.Client(plain, config)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, &handshakeError{addr, err}
	}
	return encrypted, nil
}

// handshakeError is the error of a connection that was made, but not encrypted.
type handshakeError struct {
	addr string
	err  error
}

func (e *handshakeError) Error() string { return "dial " + e.addr + ": " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// keepAlive is go-redis's: who does not answer three times after 30 s is gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}
