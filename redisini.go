package tracbus

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/tracini"
)

// ParseRedisURL reads where Redis is from a URL, as [redis.ParseURL] does:
//
//	redis://user:password@host:6379/0
//	rediss://host?read_timeout=3s
//	unix://user:password@/path/of/redis.sock?db=0
//
// rediss stands for TLS. Parameters may be db, dial_timeout, read_timeout,
// write_timeout and pool_size. An error is a [*ConfigError], which never holds
// any part of the URL.
func ParseRedisURL(text string) (RedisConfig, error) {
	c, want := parseRedisURL(text)
	if want != "" {
		return RedisConfig{}, badRedis("url", text, want)
	}
	if _, bad := c.check(); bad != nil {
		// The value may be half a password: an unescaped one moves the borders.
		return RedisConfig{}, badRedis("url", text, bad.Want+" (its "+bad.Option+")")
	}
	return c, nil
}

// parseRedisURL returns what was expected of the URL, or "".
func parseRedisURL(text string) (c RedisConfig, want string) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return c, "a URL; the characters %, #, /, ?, : and @ in a password are written as %25, %23, %2F, %3F, %3A and %40"
	case u.Scheme != "redis" && u.Scheme != "rediss" && u.Scheme != "unix":
		return c, "a URL that starts with redis://, rediss:// or unix://"
	case u.Opaque != "" || u.Scheme != "unix" && !strings.HasPrefix(text[len(u.Scheme):], "://"):
		return c, "two slashes after the first colon"
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return c, "no # (in a password it is written as %23)"
	case u.Scheme == "unix" && u.Host != "":
		return c, "an absolute path after unix://"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return c, "parameters in the form of a=b&c=d (a ? in a password is written as %3F)"
	}
	for name := range query {
		switch name {
		case "db", "dial_timeout", "read_timeout", "write_timeout", "pool_size":
		default:
			return c, "no parameters but db, dial_timeout, read_timeout, write_timeout and pool_size (a ? in a password is written as %3F)"
		}
	}
	o, err := redis.ParseURL(text)
	if err != nil {
		return c, "redis://user:password@host:port/db, rediss:// for the same with TLS, or unix://user:password@/path?db=0"
	}
	if o.DialTimeout < 0 || o.ReadTimeout < 0 || o.WriteTimeout < 0 {
		return c, "time-outs above zero: a silent Redis must not hold its callers for ever"
	}
	c = RedisConfig{Addr: o.Addr, DB: o.DB, Username: o.Username, Password: NewSecret(o.Password)}
	c.Limits = RedisLimits{DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, PoolSize: o.PoolSize}
	if o.TLSConfig != nil {
		c.TLS = &RedisTLS{}
	}
	return c, ""
}

// readRedis reads [redis_client]: the plugin's options host, port, db, password
// and unix_socket_path as the plugin does, and those it promised.
func readRedis(r *iniSection) RedisConfig {
	var c RedisConfig
	if r.text("url") != "" {
		c = r.redisURL()
	} else {
		c.Addr, c.DB = r.redisAddr(), r.number("db", 0)
		c.Username, c.Password = r.text("username"), r.secret("password")
	}
	c.Sentinel = RedisSentinel{
		MasterName: r.text("master_name"),
		Addrs:      r.addrs("sentinel_addrs", "26379"),
		Username:   r.text("sentinel_username"),
		Password:   r.secret("sentinel_password"),
	}
	c.Cluster = r.addrs("cluster_addrs", "6379")
	c.TLS = r.redisTLS(c.TLS)
	c.Limits = RedisLimits{
		DialTimeout:  cmp.Or(r.duration("dial_timeout"), c.Limits.DialTimeout),
		ReadTimeout:  cmp.Or(r.duration("read_timeout"), c.Limits.ReadTimeout),
		WriteTimeout: cmp.Or(r.duration("write_timeout"), c.Limits.WriteTimeout),
		PoolSize:     cmp.Or(r.number("pool_size", 0), c.Limits.PoolSize),
	}
	if _, bad := c.check(); bad != nil {
		r.failAt(bad)
	}
	return c
}

func (r *iniSection) redisURL() RedisConfig {
	for _, option := range []string{"host", "port", "db", "username", "password", "unix_socket_path", "master_name", "cluster_addrs"} {
		if r.text(option) != "" {
			r.fail("url", "no "+option+" beside it: the URL says it all")
		}
	}
	c, err := ParseRedisURL(r.text("url"))
	var bad *ConfigError
	if errors.As(err, &bad) {
		r.failAt(bad)
	}
	return c
}

// redisAddr is where the plugin would connect to: a socket's path wins over host
// and port, which must then be readable, but nothing more.
func (r *iniSection) redisAddr() string {
	host, port := r.textOr("host", "localhost"), r.number("port", 6379)
	if socket := r.text("unix_socket_path"); socket != "" {
		return tracini.RealPath(r.path("unix_socket_path"))
	}
	if !r.has("host") && !r.has("port") {
		return ""
	}
	if bad := checkHost("host", host); bad != nil {
		r.failAt(bad)
	}
	if port < 1 || port > 65535 {
		r.fail("port", "a number from 1 to 65535")
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// addrs reads a list of host:port; a missing port is the usual one.
func (r *iniSection) addrs(option, port string) []string {
	var addrs []string
	for _, addr := range tracini.List(r.text(option), ",") {
		ip := strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")
		switch _, err := netip.ParseAddr(ip); {
		case addr == "":
			continue
		case err == nil:
			addr = net.JoinHostPort(ip, port)
		case !strings.Contains(addr, ":"):
			addr = net.JoinHostPort(addr, port)
		}
		addrs = append(addrs, addr)
	}
	return addrs
}

// redisTLS adds the options to what the URL's scheme says: tls = enabled is
// needed for none but the system's authorities.
func (r *iniSection) redisTLS(byURL *RedisTLS) *RedisTLS {
	t := RedisTLS{CAFile: r.path("tls_ca"), CertFile: r.path("tls_cert"), KeyFile: r.path("tls_key"), ServerName: r.text("tls_server_name")}
	asked := byURL != nil || t != RedisTLS{}
	if on := r.flag("tls", asked); !on {
		if asked {
			r.fail("tls", "enabled, as there are other options for TLS or a rediss:// URL")
		}
		return nil
	}
	return &t
}
