package redisconn

import (
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/tracbus/tracbus/internal/redisconn/quorum"
)

// optionsOf returns the settings with which a client of a cluster connects to a
// node. The application's own NewClient may change them, which is how it translates
// addresses.
func optionsOf(cluster *redis.ClusterClient, n quorum.Node) *redis.Options {
	c := cluster.Options()
	o := &redis.Options{
		Addr: n.Addr, NodeAddress: n.Said, Dialer: c.Dialer, OnConnect: c.OnConnect,
		ClientName: c.ClientName, DisableIdentity: c.DisableIdentity, IdentitySuffix: c.IdentitySuffix,
		Protocol: c.Protocol, Username: c.Username, Password: c.Password,
		CredentialsProvider: c.CredentialsProvider, CredentialsProviderContext: c.CredentialsProviderContext,
		StreamingCredentialsProvider: c.StreamingCredentialsProvider,
		DialTimeout:                  c.DialTimeout, ReadTimeout: c.ReadTimeout, WriteTimeout: c.WriteTimeout,
		ReadBufferSize: c.ReadBufferSize, WriteBufferSize: c.WriteBufferSize, TLSConfig: c.TLSConfig,
		MaxRetries: -1, PoolSize: 1, PipelinePoolSize: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if o.ReadTimeout == 0 { // the cluster's word for no time-out
		o.ReadTimeout = -1
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = -1
	}
	client := c.NewClient(o) // connects when it is used, which it never is
	defer client.Close()
	return client.Options()
}
