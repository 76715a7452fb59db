package redisconn

import (
	"context"
	"net"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// dialer is go-redis's way to make a connection.
type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// single returns the settings for one connection that is like those of a client,
// but made by dial and never replaced by a repeated command. Whoever uses them
// adds the time-outs, and the database if it matters.
func single(o *redis.Options, dial dialer) *redis.Options {
	return &redis.Options{
		Network: o.Network, Addr: o.Addr, Dialer: dial, OnConnect: o.OnConnect,
		ClientName: o.ClientName, DisableIdentity: o.DisableIdentity, IdentitySuffix: o.IdentitySuffix, Protocol: o.Protocol,
		Username: o.Username, Password: o.Password,
		CredentialsProvider: o.CredentialsProvider, CredentialsProviderContext: o.CredentialsProviderContext,
		StreamingCredentialsProvider: o.StreamingCredentialsProvider,
		WriteTimeout:                 o.WriteTimeout, ReadBufferSize: o.ReadBufferSize,
		MaxRetries: -1, DialerRetries: 1, PoolSize: 1, PipelinePoolSize: -1, ConnMaxIdleTime: -1, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}
