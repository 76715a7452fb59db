package tracbus

import (
	"cmp"
	"crypto/subtle"
	"crypto/tls"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn"
	"github.com/tracbus/tracbus/internal/redisconn/setting"
	"github.com/tracbus/tracbus/internal/tracini"
)

// DefaultRedisAddr is the address of Redis unless configured otherwise (plugin
// README, [redis_client] host and port).
const DefaultRedisAddr = "localhost:6379"

// DefaultRedisTimeout is how long a connection, a read or a write may take unless
// configured otherwise.
const DefaultRedisTimeout = 5 * time.Second

// RedisConfig says which Redis to connect to: one server (Addr), or the master
// that a Sentinel knows, or a Cluster. [LoadConfig] reads it from a trac.ini,
// [ParseRedisURL] from a URL; in Go it is filled in by hand. Zero means one
// server on [DefaultRedisAddr].
//
// Each field names the option of [redis_client] in trac.ini that sets it. Errors
// name settings by these options.
type RedisConfig struct {
	// Addr is host:port, or the absolute path of a unix socket (options host
	// and port, unix_socket_path). Zero means [DefaultRedisAddr], unless
	// Sentinel or Cluster is set.
	Addr string

	// DB is the number of the database (option db). It makes no difference to
	// what is published, only to streams. Zero means the first.
	DB int

	// Username of an ACL user (option username); it needs a Password. Zero means
	// the user "default".
	Username string

	// Password (option password). Zero means that none is sent.
	Password Secret

	// TLS encrypts connections (option tls, and the options of [RedisTLS]). Zero means
	// plain text.
	TLS *RedisTLS

	// Sentinel finds the server (options of [RedisSentinel]). Zero means that
	// none is asked.
	Sentinel RedisSentinel

	// Cluster is host:port of some nodes of a Redis Cluster; the others are found
	// through them (option cluster_addrs, separated by commas). Zero means no
	// cluster.
	Cluster []string

	// DialTimeout is how long one attempt to connect may take, ReadTimeout how
	// long Redis may take to answer, WriteTimeout how long a command may take to
	// be sent (options dial_timeout, read_timeout, write_timeout). Zero means
	// [DefaultRedisTimeout]. None can be switched off: a Redis that stays silent
	// must not hold its callers for ever.
	DialTimeout, ReadTimeout, WriteTimeout time.Duration

	// PoolSize is the number of connections kept for each server (option
	// pool_size). Zero means ten for each processor, five in a cluster.
	PoolSize int
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

// RedisTLS says how connections are encrypted. Zero means that the server's
// certificate is checked against the system's authorities. All files are PEM; in
// a trac.ini their paths are relative to its folder.
type RedisTLS struct {
	// CAFile holds the authorities that may have signed the server's certificate
	// (option tls_ca). Zero means the system's.
	CAFile string

	// CertFile and KeyFile are this client's own certificate and its key (options
	// tls_cert and tls_key). Zero means that none is shown.
	CertFile, KeyFile string

	// ServerName is the name that the server's certificate must have (option
	// tls_server_name). Zero means the host that is connected to.
	ServerName string
}

// NewClient makes a client, which connects when it is first used. The caller
// closes it. An error is a [*ConfigError].
func (c RedisConfig) NewClient() (redis.UniversalClient, error) {
	tlsConfig, bad := c.check()
	if bad != nil {
		return nil, redisError(bad)
	}
	c.DialTimeout = cmp.Or(c.DialTimeout, DefaultRedisTimeout)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, DefaultRedisTimeout)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, DefaultRedisTimeout)
	dial := redisconn.Dialer{
		TLS: tlsConfig, Timeout: c.DialTimeout,
		Secrets: []string{c.Password.Reveal(), c.Sentinel.Password.Reveal()},
	}.Func()
	switch {
	case c.Sentinel.MasterName != "":
		return redisconn.NewSentinelClient(&redis.FailoverOptions{
			MasterName: c.Sentinel.MasterName, SentinelAddrs: c.Sentinel.Addrs,
			SentinelUsername: c.Sentinel.Username, SentinelPassword: c.Sentinel.Password.Reveal(),
			DB: c.DB, Username: c.Username, Password: c.Password.Reveal(), TLSConfig: tlsConfig,
			Dialer: dial, DialTimeout: c.DialTimeout, ReadTimeout: c.ReadTimeout, WriteTimeout: c.WriteTimeout,
			PoolSize: c.PoolSize, ContextTimeoutEnabled: true,
		}), nil
	case len(c.Cluster) > 0:
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs:    c.Cluster,
			Username: c.Username, Password: c.Password.Reveal(), TLSConfig: tlsConfig,
			Dialer: dial, DialTimeout: c.DialTimeout, ReadTimeout: c.ReadTimeout, WriteTimeout: c.WriteTimeout,
			PoolSize: c.PoolSize, ContextTimeoutEnabled: true,
		}), nil
	}
	addr, network := cmp.Or(c.Addr, DefaultRedisAddr), "tcp"
	if filepath.IsAbs(addr) {
		network = "unix"
	}
	return redis.NewClient(&redis.Options{
		Network: network, Addr: addr,
		DB: c.DB, Username: c.Username, Password: c.Password.Reveal(), TLSConfig: tlsConfig,
		Dialer: dial, DialTimeout: c.DialTimeout, ReadTimeout: c.ReadTimeout, WriteTimeout: c.WriteTimeout,
		PoolSize: c.PoolSize, ContextTimeoutEnabled: true,
	}), nil
}

// check finds what cannot work, and reads the certificates.
func (c RedisConfig) check() (*tls.Config, *setting.BadSetting) {
	for _, bad := range []*setting.BadSetting{c.checkPlace(), c.checkLimits()} {
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
	return setting.LoadTLS(c.TLS.CAFile, c.TLS.CertFile, c.TLS.KeyFile, c.TLS.ServerName)
}

// checkPlace checks that there is one place to connect to, and that it can be one.
func (c RedisConfig) checkPlace() *setting.BadSetting {
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
		if bad := setting.CheckAddr("host", c.Addr); bad != nil {
			return bad
		}
	}
	return cmp.Or(setting.CheckAddrs("sentinel_addrs", s.Addrs), setting.CheckAddrs("cluster_addrs", c.Cluster))
}

// checkLimits checks the time-outs and the size of the pool.
func (c RedisConfig) checkLimits() *setting.BadSetting {
	switch {
	case c.DialTimeout < 0:
		return badRedis("dial_timeout", c.DialTimeout.String(), "a time above zero")
	case c.ReadTimeout < 0:
		return badRedis("read_timeout", c.ReadTimeout.String(), "a time above zero")
	case c.WriteTimeout < 0:
		return badRedis("write_timeout", c.WriteTimeout.String(), "a time above zero")
	case c.PoolSize < 0:
		return badRedis("pool_size", strconv.Itoa(c.PoolSize), "a number from 1")
	}
	return nil
}

// badRedis returns what is wrong with a setting, by its option in [redis_client].
func badRedis(option, value, want string) *setting.BadSetting {
	return &setting.BadSetting{Option: option, Value: value, Want: want}
}

// redisError is the error of a setting that was made in Go.
func redisError(bad *setting.BadSetting) *ConfigError {
	return &ConfigError{Option: bad.Option, Value: tracini.Printable(bad.Option, bad.Value), Want: bad.Want, Err: bad.Err}
}

// ParseRedisURL reads which Redis to connect to from a URL, as [redis.ParseURL] does:
//
//	redis://user:password@host:6379/0
//	rediss://host?read_timeout=3s
//	unix://user:password@/path/of/redis.sock?db=0
//
// rediss means TLS. Parameters may be db, dial_timeout, read_timeout,
// write_timeout and pool_size. An error is a [*ConfigError], which never holds
// any part of the URL.
func ParseRedisURL(text string) (RedisConfig, error) {
	c, bad := parseRedisURL(text)
	if bad != nil {
		return RedisConfig{}, redisError(bad)
	}
	return c, nil
}

func parseRedisURL(text string) (RedisConfig, *setting.BadSetting) {
	o, want := setting.ParseURL(text)
	if want != "" {
		return RedisConfig{}, badRedis("url", text, want)
	}
	c := RedisConfig{
		Addr: o.Addr, DB: o.DB, Username: o.Username, Password: NewSecret(o.Password),
		DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, PoolSize: o.PoolSize,
	}
	if o.TLSConfig != nil {
		c.TLS = &RedisTLS{}
	}
	if _, bad := c.check(); bad != nil {
		// The value may be half a password, because an unescaped one moves the borders.
		return RedisConfig{}, badRedis("url", text, bad.Want+" (its "+bad.Option+")")
	}
	return c, nil
}

// hidden is printed in place of a secret.
const hidden = "[secret]"

// A Secret is a password that is never printed: not by fmt with any verb, not by
// log/slog, not as JSON or text, and not as a field of some other struct that
// does not know of it. Zero means none.
//
// Secrets are compared by [Secret.Equal]: with == two of the same text are
// different, except zero.
type Secret struct {
	text *string // behind a pointer: fmt prints unexported strings of foreign structs
}

// NewSecret keeps a text secret. An empty one is no secret, as zero.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: &text}
}

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Equal says whether both are the same text, in a time that does not depend on
// what differs.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String returns "[secret]", or nothing if there is no secret.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return hidden
}

// Format prints the same for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%q", s.String()) }

// LogValue is what log/slog shows.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is what JSON and other encodings show. It is not the way to store
// a secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a secret from an application's own settings.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
