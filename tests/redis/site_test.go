package redis_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testserver"
)

// site is one way in which people run Redis, and how clients reach it.
type site struct {
	kind    string // of the rows of rights: server, Sentinel or Cluster
	config  tracbus.RedisConfig
	users   bool // clients connect as users with the rights of the documentation
	servers []*testserver.RedisServer
	group   *testserver.SentinelGroup // nil for the others
	cluster *testserver.RedisCluster
}

// sitePassword is the one of the sites that have one for all.
const sitePassword = "tell-nobody-0"

// The kinds of sites, which differ in the rights that they need.
const (
	server   = "one server"
	sentinel = "Sentinel"
	cluster  = "Cluster"
)

// sites are every topology, by names that docs/redis.md has.
var sites = []struct {
	name  string
	start func(t *testing.T) *site
}{
	{"standalone", func(t *testing.T) *site { return serverSite(testserver.Redis(t, testserver.RedisOptions{})) }},
	{"unix socket", func(t *testing.T) *site {
		s := serverSite(testserver.Redis(t, testserver.RedisOptions{Unix: true}))
		s.config.Addr = s.servers[0].Socket()
		return s
	}},
	{"password", func(t *testing.T) *site {
		s := serverSite(testserver.Redis(t, testserver.RedisOptions{Password: sitePassword}))
		s.config.Password = tracbus.NewSecret(sitePassword)
		return s
	}},
	{"ACL user", func(t *testing.T) *site {
		s := serverSite(testserver.Redis(t, testserver.RedisOptions{Users: append(nobody(), users(server)...)}))
		s.users = true
		return s
	}},
	{"TLS", func(t *testing.T) *site {
		certs := testserver.Certificates(t)
		s := serverSite(testserver.Redis(t, testserver.RedisOptions{TLS: certs}))
		s.config.TLS = trust(certs)
		return s
	}},
	{"Sentinel 1+2+3", func(t *testing.T) *site { return sentinelSite(t, nil) }},
	{"Sentinel 1+2+3, TLS", func(t *testing.T) *site { return sentinelSite(t, testserver.Certificates(t)) }},
	{"Cluster 3+3", func(t *testing.T) *site { return clusterSite(t, nil) }},
	{"Cluster 3+3, TLS", func(t *testing.T) *site { return clusterSite(t, testserver.Certificates(t)) }},
}

// serverSite is one server, to which everybody comes without a name.
func serverSite(s *testserver.RedisServer) *site {
	return &site{kind: server, config: tracbus.RedisConfig{Addr: s.Addr()}, servers: []*testserver.RedisServer{s}}
}

// trust returns the settings of a client with certificates, which there may be none of.
func trust(certs *testserver.CertFiles) *tracbus.RedisTLS {
	if certs == nil {
		return nil
	}
	return &tracbus.RedisTLS{CAFile: certs.CA, CertFile: certs.ClientCert, KeyFile: certs.ClientKey}
}

// sentinelSite starts a group whose servers and Sentinels let in users only, and speak
// TLS if there are certificates.
func sentinelSite(t *testing.T, certs *testserver.CertFiles) *site {
	t.Helper()
	g := testserver.Sentinel(t, testserver.SentinelOptions{
		Servers: testserver.RedisOptions{TLS: certs, Users: append(nobody(), users(sentinel)...)},
		Sentinels: testserver.RedisOptions{Users: append(nobody(), testserver.RedisUser{
			Name: "asks", Password: passwordOf("asks"), Rules: sentinelRules,
		})},
	})
	return &site{
		kind: sentinel, users: true, servers: g.Servers, group: g,
		config: tracbus.RedisConfig{TLS: trust(certs), Sentinel: tracbus.RedisSentinel{
			MasterName: g.MasterName, Addrs: g.Addrs(), Username: "asks", Password: tracbus.NewSecret(passwordOf("asks")),
		}},
	}
}

// clusterSite starts a cluster that lets in users only, and speaks TLS if there are
// certificates.
func clusterSite(t *testing.T, certs *testserver.CertFiles) *site {
	t.Helper()
	c := testserver.Cluster(t, testserver.ClusterOptions{Nodes: testserver.RedisOptions{TLS: certs, Users: append(nobody(), users(cluster)...)}})
	return &site{
		kind: cluster, users: true, servers: c.Nodes, cluster: c,
		config: tracbus.RedisConfig{TLS: trust(certs), Cluster: c.Addrs()},
	}
}

// nobody keeps out who says no name.
func nobody() []testserver.RedisUser { return []testserver.RedisUser{{Name: "default", Rules: "off"}} }

// passwordOf returns a user's password, which nothing may print.
func passwordOf(user string) string { return "tell-nobody-of-" + user }

// as returns the settings with which a role connects.
func (s *site) as(role string) tracbus.RedisConfig {
	c := s.config
	if s.users {
		c.Username, c.Password = role, tracbus.NewSecret(passwordOf(role))
	}
	return c
}

// on does something as administrator on every server that lets it be done.
func (s *site) on(t *testing.T, args ...any) {
	t.Helper()
	for _, server := range s.servers {
		err := server.Admin().Do(context.Background(), args...).Err()
		if err != nil && !redis.HasErrorPrefix(err, "READONLY") {
			require.NoError(t, err, "%v on %s", args, server.Addr())
		}
	}
}

// way is how a client is made.
type way string

const (
	resp2     way = "RESP2"
	resp3     way = "RESP3"
	goStructs way = "RedisConfig"
	tracIni   way = "trac.ini"
)

// client makes a client for a role, which is closed with the test. The second result
// is the publisher's settings that came with it.
func (s *site) client(t *testing.T, w way, role string) (redis.UniversalClient, tracbus.PublisherConfig) {
	t.Helper()
	config := s.as(role)
	var publisher tracbus.PublisherConfig
	var client redis.UniversalClient
	switch w {
	case resp2:
		client = s.plain(t, config, 2)
	case resp3:
		client = s.plain(t, config, 3)
	case tracIni:
		loaded, err := tracbus.LoadConfig(iniOf(t, config))
		require.NoError(t, err)
		require.Empty(t, loaded.Warnings)
		config, publisher = loaded.Redis, loaded.Publisher
		fallthrough
	case goStructs:
		var err error
		client, err = config.NewClient()
		require.NoError(t, err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client, publisher
}

// plain makes a client of go-redis as an application does that lends its own.
func (s *site) plain(t *testing.T, c tracbus.RedisConfig, protocol int) redis.UniversalClient {
	t.Helper()
	var crypt *tls.Config
	if c.TLS != nil {
		crypt = (&testserver.CertFiles{CA: c.TLS.CAFile, ClientCert: c.TLS.CertFile, ClientKey: c.TLS.KeyFile}).ClientConfig(t)
	}
	switch {
	case c.Sentinel.MasterName != "":
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: c.Sentinel.MasterName, SentinelAddrs: c.Sentinel.Addrs, Protocol: protocol, TLSConfig: crypt,
			SentinelUsername: c.Sentinel.Username, SentinelPassword: c.Sentinel.Password.Reveal(),
			Username: c.Username, Password: c.Password.Reveal(),
		})
	case len(c.Cluster) > 0:
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: c.Cluster, Protocol: protocol, TLSConfig: crypt, Username: c.Username, Password: c.Password.Reveal(),
		})
	}
	network := "tcp"
	if filepath.IsAbs(c.Addr) {
		network = "unix"
	}
	return redis.NewClient(&redis.Options{
		Network: network, Addr: c.Addr, Protocol: protocol, TLSConfig: crypt, Username: c.Username, Password: c.Password.Reveal(),
	})
}

// iniOf writes a trac.ini, as for an environment named test, and returns its folder.
func iniOf(t *testing.T, c tracbus.RedisConfig) string {
	t.Helper()
	var b strings.Builder
	set := func(option, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s = %s\n", option, value)
		}
	}
	b.WriteString("[components]\ntracext.redispub.* = enabled\n[redis_client]\n")
	switch host, port, _ := strings.Cut(c.Addr, ":"); {
	case filepath.IsAbs(c.Addr):
		set("unix_socket_path", c.Addr)
	default:
		set("host", host)
		set("port", port)
	}
	set("username", c.Username)
	set("password", c.Password.Reveal())
	set("master_name", c.Sentinel.MasterName)
	set("sentinel_addrs", strings.Join(c.Sentinel.Addrs, ", "))
	set("sentinel_username", c.Sentinel.Username)
	set("sentinel_password", c.Sentinel.Password.Reveal())
	set("cluster_addrs", strings.Join(c.Cluster, ", "))
	if c.TLS != nil {
		set("tls_ca", c.TLS.CAFile)
		set("tls_cert", c.TLS.CertFile)
		set("tls_key", c.TLS.KeyFile)
	}
	return writeIni(t, b.String())
}
