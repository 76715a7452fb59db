package redisconn

import (
	"net"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// node is a node of a cluster, as another one names it.
type node struct {
	id   string
	addr string // to which to connect
	said string // as the server says it
}

// same says whether both are one node. A node keeps its id when its address
// changes, and behind a translation of addresses each may be named differently.
func (n node) same(other node) bool {
	if n.id != "" && other.id != "" {
		return n.id == other.id
	}
	return n.addr == other.addr
}

// named reads the name of a node in the answer of the one at origin, as go-redis
// does: a node that knows no better name of itself leaves out its host, or calls
// itself by an address that only its own machine understands; and its port is 0 if
// it speaks TLS only.
func named(n redis.ClusterNode, origin string) node {
	host, port, err := net.SplitHostPort(n.Addr)
	fromHost, fromPort, err2 := net.SplitHostPort(origin)
	if err != nil || err2 != nil {
		return node{id: n.ID, addr: n.Addr, said: n.Addr}
	}
	loopback := net.ParseIP(host).IsLoopback() && !isLoopback(fromHost)
	if host == "" || host == "?" || loopback {
		host = fromHost
	}
	if port == "0" {
		port = fromPort
	}
	return node{id: n.ID, addr: net.JoinHostPort(host, port), said: n.Addr}
}

func isLoopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// optionsOf returns the settings with which a client of a cluster connects to a
// node. The application's own NewClient may change them, which is how it translates
// addresses.
func optionsOf(cluster *redis.ClusterClient, n node) *redis.Options {
	c := cluster.Options()
	o := &redis.Options{
		Addr: n.addr, NodeAddress: n.said, Dialer: c.Dialer, OnConnect: c.OnConnect,
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
