// Package redisconn holds one connection of a reader of Redis, be it of a subscription
// or of a stream. Its one secret is how to be told when that connection breaks,
// which go-redis mends in silence.
package redisconn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Line is one connection of a subscription. It breaks, whatever go-redis is
// waiting for on it, as soon as its context ends, and is never replaced: a
// PubSub would connect again by itself, without saying so, before it tells that
// it lost a connection.
type Line struct {
	ctx    context.Context
	hangUp context.CancelCauseFunc
	client *redis.Client
	pubsub *redis.PubSub

	listening atomic.Bool // someone waits for a message
	heard     atomic.Bool // since the watch has last looked
}

// New returns a line with the settings of a borrowed client. It connects when it
// subscribes, and lasts until ctx ends or it is closed.
func New(ctx context.Context, borrowed redis.UniversalClient) (*Line, error) {
	anyNode := strconv.Itoa(rand.Int()) // in a cluster each hands every message to all
	o, err := optionsOf(ctx, borrowed, anyNode)
	if err != nil {
		return nil, err
	}
	l := new(Line)
	l.ctx, l.hangUp = context.WithCancelCause(ctx)
	l.client = redis.NewClient(&redis.Options{
		Network: o.Network, Addr: o.Addr, Dialer: l.once(o.Dialer), OnConnect: o.OnConnect,
		ClientName: o.ClientName, DisableIdentity: o.DisableIdentity, IdentitySuffix: o.IdentitySuffix, Protocol: o.Protocol,
		Username: o.Username, Password: o.Password,
		CredentialsProvider: o.CredentialsProvider, CredentialsProviderContext: o.CredentialsProviderContext,
		StreamingCredentialsProvider: o.StreamingCredentialsProvider,
		ReadTimeout:                  o.ReadTimeout, WriteTimeout: o.WriteTimeout, ReadBufferSize: o.ReadBufferSize,
		MaxRetries: -1, PipelinePoolSize: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	l.pubsub = l.client.PSubscribe(l.ctx)
	return l, nil
}

// optionsOf returns the settings for the server that has a key.
func optionsOf(ctx context.Context, client redis.UniversalClient, key string) (*redis.Options, error) {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options(), nil
	case *redis.ClusterClient:
		node, err := c.MasterForKey(ctx, key)
		if err != nil {
			return nil, err
		}
		return node.Options(), nil
	}
	return nil, fmt.Errorf("client of type %T: expected *redis.Client or *redis.ClusterClient", client)
}

// Refresh has a client of a cluster find out again which node has what. It does
// not wait for that.
func Refresh(ctx context.Context, borrowed redis.UniversalClient) {
	if c, ok := borrowed.(*redis.ClusterClient); ok {
		c.ReloadState(ctx)
	}
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

func (l *Line) once(dial dialer) dialer {
	var dialed atomic.Bool
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dialed.Swap(true) {
			return nil, errors.New("the connection is lost")
		}
		conn, err := dial(ctx, network, addr)
		if err == nil {
			context.AfterFunc(l.ctx, func() { _ = conn.Close() })
		}
		return conn, err
	}
}

// Subscribe asks for patterns; Receive returns a confirmation for each.
func (l *Line) Subscribe(patterns ...string) error { return l.pubsub.PSubscribe(l.ctx, patterns...) }

// Close ends the line.
func (l *Line) Close() {
	l.hangUp(nil)
	_ = l.pubsub.Close()
	_ = l.client.Close()
}

// Receive waits for what comes next: a *redis.Subscription, a *redis.Message or
// a *redis.Pong. An error that is no answer of Redis means that the line is
// broken.
func (l *Line) Receive() (any, error) {
	l.heard.Store(true)
	l.listening.Store(true)
	received, err := l.pubsub.Receive(l.ctx)
	l.listening.Store(false)
	if errors.Is(context.Cause(l.ctx), errSilent) {
		err = errSilent
	}
	return received, err
}

var errSilent = errors.New("silence, and no answer to a PING")

// Watch hangs up when the server has been silent, and then does not answer
// either: a connection that is cut off somewhere on the way looks like one on
// which nothing happens. It ends with the line.
func (l *Line) Watch(silence time.Duration) {
	tick := time.NewTicker(silence)
	defer tick.Stop()
	for asked := false; ; {
		select {
		case <-l.ctx.Done():
			return
		case <-tick.C:
		}
		switch {
		case l.heard.Swap(false) || !l.listening.Load():
			asked = false
		case asked:
			l.hangUp(errSilent)
			return
		default:
			asked = true
			_ = l.pubsub.Ping(l.ctx) // a failure is seen by Receive
		}
	}
}
