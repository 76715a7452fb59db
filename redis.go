package tracbus

import (
	"cmp"
	"crypto/tls"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/redis/go-redis/v9"
)

// DefaultRedisAddr is where Redis is unless configured otherwise (plugin README,
// [redis_client] host and port).
const DefaultRedisAddr = "localhost:6379"

// DefaultRedisTimeout is how long a connection, a read or a write may take unless
// configured otherwise.
const DefaultRedisTimeout = 5 * time.Second

// RedisConfig says which Redis to connect to: one server (Addr), or the master
// that a Sentinel knows, or a Cluster. [LoadConfig] reads it from a trac.ini,
// [ParseRedisURL] from a URL; in Go it is filled in by hand. Zero means one
// server on [DefaultRedisAddr].
//
// Each field names the option of [redis_client] in trac.ini that sets it; errors
// name settings by these options.
type RedisConfig struct {
	// Addr is host:port, or the absolute path of a unix socket (options host
	// and port, unix_socket_path). Zero means [DefaultRedisAddr], unless
	// Sentinel or Cluster is set.
	Addr string

	// DB is the number of the database (option db). It makes no difference to
	// what is published, only to where streams are kept. Zero means the first.
	DB int

	// Username of an ACL user (option username); it needs a Password. Zero means
	// the user "default".
	Username string

	// Password (option password). Zero means that none is sent.
	Password Secret

	// TLS encrypts connections (option tls, and those of [RedisTLS]). Zero means
	// plain text.
	TLS *RedisTLS

	// Sentinel finds the server (options of [RedisSentinel]). Zero means that
	// none is asked.
	Sentinel RedisSentinel

	// Cluster is host:port of some nodes of a Redis Cluster; the others are found
	// through them (option cluster_addrs, separated by commas). Zero means no
	// cluster.
	Cluster []string

	// Limits are time-outs and the number of connections. Zero means the
	// defaults.
	Limits RedisLimits
}

// RedisSentinel says which Sentinels know the server.
type RedisSentinel struct {
	// MasterName is the name the Sentinels have for the server (option
	// master_name). Zero means no Sentinel.
	MasterName string

	// Addrs is host:port of the Sentinels (option sentinel_addrs, separated by
	// commas). At least one is needed with a MasterName.
	Addrs []string

	// Username and Password are for the Sentinels themselves (options
	// sentinel_username and sentinel_password). Zero means that none is sent.
	Username string
	Password Secret
}

// RedisLimits bound what a client waits for and opens. None can be switched off:
// a Redis that stays silent must not hold its callers for ever.
type RedisLimits struct {
	// DialTimeout is how long one attempt to connect may take (option
	// dial_timeout). Zero means [DefaultRedisTimeout].
	DialTimeout time.Duration

	// ReadTimeout is how long Redis may take to answer (option read_timeout).
	// Zero means [DefaultRedisTimeout].
	ReadTimeout time.Duration

	// WriteTimeout is how long a command may take to be sent (option
	// write_timeout). Zero means [DefaultRedisTimeout].
	WriteTimeout time.Duration

	// PoolSize is the number of connections kept for each server (option
	// pool_size). Zero means ten for each processor, five in a cluster.
	PoolSize int
}

// NewClient makes a client, which connects when it is first used. The caller
// closes it. An error is a [*ConfigError].
func (c RedisConfig) NewClient() (redis.UniversalClient, error) {
	tlsConfig, bad := c.check()
	if bad != nil {
		return nil, bad
	}
	l := c.Limits.withDefaults()
	switch {
	case c.Sentinel.MasterName != "":
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: c.Sentinel.MasterName, SentinelAddrs: c.Sentinel.Addrs,
			SentinelUsername: c.Sentinel.Username, SentinelPassword: c.Sentinel.Password.Reveal(),
			DB: c.DB, Username: c.Username, Password: c.Password.Reveal(), TLSConfig: tlsConfig,
			DialTimeout: l.DialTimeout, ReadTimeout: l.ReadTimeout, WriteTimeout: l.WriteTimeout,
			PoolSize: l.PoolSize, ContextTimeoutEnabled: true,
		}), nil
	case len(c.Cluster) > 0:
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs:    c.Cluster,
			Username: c.Username, Password: c.Password.Reveal(), TLSConfig: tlsConfig,
			DialTimeout: l.DialTimeout, ReadTimeout: l.ReadTimeout, WriteTimeout: l.WriteTimeout,
			PoolSize: l.PoolSize, ContextTimeoutEnabled: true,
		}), nil
	}
	addr, network := cmp.Or(c.Addr, DefaultRedisAddr), "tcp"
	if filepath.IsAbs(addr) {
		network = "unix"
	}
	return redis.NewClient(&redis.Options{
		Network: network, Addr: addr,
		DB: c.DB, Username: c.Username, Password: c.Password.Reveal(), TLSConfig: tlsConfig,
		DialTimeout: l.DialTimeout, ReadTimeout: l.ReadTimeout, WriteTimeout: l.WriteTimeout,
		PoolSize: l.PoolSize, ContextTimeoutEnabled: true,
	}), nil
}

func (l RedisLimits) withDefaults() RedisLimits {
	l.DialTimeout = cmp.Or(l.DialTimeout, DefaultRedisTimeout)
	l.ReadTimeout = cmp.Or(l.ReadTimeout, DefaultRedisTimeout)
	l.WriteTimeout = cmp.Or(l.WriteTimeout, DefaultRedisTimeout)
	return l
}

// check finds what cannot work, and reads the certificates. The error names
// options of [redis_client]; whoever knows the file adds it.
func (c RedisConfig) check() (*tls.Config, *ConfigError) {
	for _, bad := range []*ConfigError{c.checkPlace(), c.Limits.check()} {
		if bad != nil {
			return nil, bad
		}
	}
	switch {
	case c.DB < 0:
		return nil, badRedis("db", strconv.Itoa(c.DB), "a number from 0")
	case c.Username != "" && c.Password == Secret{}:
		return nil, badRedis("username", c.Username, "a password with it: without one Redis is not told the name")
	case c.Sentinel.Username != "" && c.Sentinel.Password == Secret{}:
		return nil, badRedis("sentinel_username", c.Sentinel.Username, "a sentinel_password with it")
	case c.TLS == nil:
		return nil, nil
	}
	return c.TLS.load()
}

// checkPlace checks that there is one place to connect to, and that it can be one.
func (c RedisConfig) checkPlace() *ConfigError {
	s := c.Sentinel
	switch {
	case s.MasterName == "" && len(s.Addrs) > 0:
		return badRedis("sentinel_addrs", strings.Join(s.Addrs, ", "), "a master_name with it")
	case s.MasterName == "" && (s.Username != "" || s.Password != Secret{}):
		return badRedis("master_name", "", "the name of a server, as a user or password for its Sentinels is given")
	case s.MasterName != "" && len(s.Addrs) == 0:
		return badRedis("sentinel_addrs", "", "host:port of one Sentinel at least, as master_name is given")
	case s.MasterName != "" && len(c.Cluster) > 0:
		return badRedis("master_name", s.MasterName, "either master_name or cluster_addrs")
	case s.MasterName != "" && c.Addr != "":
		return badRedis("master_name", s.MasterName, "no host, port, unix_socket_path or url beside it: the Sentinels know them")
	case len(c.Cluster) > 0 && c.Addr != "":
		return badRedis("cluster_addrs", strings.Join(c.Cluster, ", "), "no host, port, unix_socket_path or url beside it")
	case len(c.Cluster) > 0 && c.DB != 0:
		return badRedis("db", strconv.Itoa(c.DB), "0, the only database of a cluster")
	case filepath.IsAbs(c.Addr) && c.TLS != nil:
		return badRedis("unix_socket_path", c.Addr, "no TLS: a unix socket does not leave the machine")
	}
	if c.Addr != "" && !filepath.IsAbs(c.Addr) {
		if bad := checkAddr("host", c.Addr); bad != nil {
			return bad
		}
	}
	for _, addr := range s.Addrs {
		if bad := checkAddr("sentinel_addrs", addr); bad != nil {
			return bad
		}
	}
	for _, addr := range c.Cluster {
		if bad := checkAddr("cluster_addrs", addr); bad != nil {
			return bad
		}
	}
	return nil
}

func (l RedisLimits) check() *ConfigError {
	switch {
	case l.DialTimeout < 0:
		return badRedis("dial_timeout", l.DialTimeout.String(), "a time above zero")
	case l.ReadTimeout < 0:
		return badRedis("read_timeout", l.ReadTimeout.String(), "a time above zero")
	case l.WriteTimeout < 0:
		return badRedis("write_timeout", l.WriteTimeout.String(), "a time above zero")
	case l.PoolSize < 0:
		return badRedis("pool_size", strconv.Itoa(l.PoolSize), "a number from 1")
	}
	return nil
}

// checkAddr checks host:port.
func checkAddr(option, addr string) *ConfigError {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return badRedis(option, addr, "host:port, an IPv6 address in brackets")
	}
	if bad := checkHost(option, host); bad != nil {
		return bad
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return badRedis(option, addr, "a port from 1 to 65535")
	}
	return nil
}

// checkHost refuses what cannot be a name or an IP address, so that it is found
// at load rather than at every change.
func checkHost(option, host string) *ConfigError {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	odd := func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`:/\@[]?#`, r)
	}
	switch {
	case host == "":
		return badRedis(option, "", "a name or an IP address")
	case strings.Contains(host, "://"):
		return badRedis(option, "", "a name or an IP address (option url takes a URL)")
	case strings.ContainsFunc(host, odd):
		return badRedis(option, host, "a name or an IP address alone")
	}
	return nil
}

// badRedis is an error about a setting, which is called as in [redis_client].
func badRedis(option, value, want string) *ConfigError {
	return &ConfigError{Option: option, Value: printable(option, value), Want: want}
}
