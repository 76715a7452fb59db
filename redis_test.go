package tracbus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testserver"
)

// Settings of [redis_client] and what they mean in Go.
func TestLoadConfigRedis(t *testing.T) {
	for ini, want := range map[string]tracbus.RedisConfig{
		"":                                    {},
		"host =\nurl = redis://r":             {Addr: "r:6379"},
		"port = 6380":                         {Addr: "localhost:6380"},
		"host = ::1":                          {Addr: "[::1]:6379"},
		"host = r\ndb = 3\npassword = p w":    {Addr: "r:6379", DB: 3, Password: tracbus.NewSecret("p w")},
		"username = joe\npassword = p":        {Username: "joe", Password: tracbus.NewSecret("p")},
		"unix_socket_path = /r.sock\nhost = ": {Addr: "/r.sock"},
		"url = redis://joe:p%40@[::1]:1/2?pool_size=9&read_timeout=3": {
			Addr: "[::1]:1", DB: 2, Username: "joe", Password: tracbus.NewSecret("p@"),
			ReadTimeout: 3 * time.Second, PoolSize: 9,
		},
		"url = rediss://r":                              {Addr: "r:6379", TLS: &tracbus.RedisTLS{}},
		"url = rediss://r\ntls_server_name = s":         {Addr: "r:6379", TLS: &tracbus.RedisTLS{ServerName: "s"}},
		"url = unix://joe:p@/run/r.sock?db=1":           {Addr: "/run/r.sock", DB: 1, Username: "joe", Password: tracbus.NewSecret("p")},
		"tls = enabled":                                 {TLS: &tracbus.RedisTLS{}},
		"tls = disabled":                                {},
		"tls_server_name = s\nhost = r":                 {Addr: "r:6379", TLS: &tracbus.RedisTLS{ServerName: "s"}},
		"dial_timeout = 1.5\nread_timeout = 200ms":      {DialTimeout: 1500 * time.Millisecond, ReadTimeout: 200 * time.Millisecond},
		"write_timeout = 2m\npool_size = 4":             {WriteTimeout: 2 * time.Minute, PoolSize: 4},
		"cluster_addrs = a, b:7000, ::1, [::1]:7001, ,": {Cluster: []string{"a:6379", "b:7000", "[::1]:6379", "[::1]:7001"}},
		"master_name = m\nsentinel_addrs = a,b:1\nsentinel_username = u\nsentinel_password = s\npassword = p\ndb = 1": {
			DB: 1, Password: tracbus.NewSecret("p"),
			Sentinel: tracbus.RedisSentinel{MasterName: "m", Addrs: []string{"a:26379", "b:1"}, Username: "u", Password: tracbus.NewSecret("s")},
		},
	} {
		config, _, err := loadIni(t, "[redis_client]\n"+ini)
		if assert.NoError(t, err, ini) {
			assert.Equal(t, want, config.Redis, ini)
		}
	}
}

// Settings that cannot work, the option that is to blame, and a word of the
// error.
func TestLoadConfigRefusesRedis(t *testing.T) {
	for ini, want := range map[string]struct{ option, word string }{
		"host =":                        {"host", "a name or an IP address"},
		"host = a b":                    {"host", "alone"},
		"host = [::1]":                  {"host", "alone"},
		"host = r:1":                    {"host", "alone"},
		"host = redis://r":              {"host", "url"},
		"port = 65536":                  {"port", "65535"},
		"port =":                        {"port", "1 to 65535"},
		"unix_socket_path = /s\nport=x": {"port", "integer"}, // the plugin reads it, too
		"db = -1":                       {"db", "from 0"},
		"username = joe":                {"username", "password"},
		"tls = perhaps":                 {"tls", "enabled or disabled"},
		"tls = off\ntls_ca = ca.pem":    {"tls", "other options"},
		"tls = off\nurl = rediss://r":   {"tls", "rediss"},
		"tls = on\nunix_socket_path=/s": {"unix_socket_path", "no TLS"},
		"tls_ca = none.pem":             {"tls_ca", "no such file"},
		"tls_ca = trac.ini":             {"tls_ca", "PEM"},
		"tls_cert = c.pem":              {"tls_cert", "tls_key"},
		"tls_key = k.pem":               {"tls_key", "tls_cert"},
		"tls_cert = trac.ini\ntls_key = trac.ini":                        {"tls_cert", "PEM"},
		"dial_timeout = 0":                                               {"dial_timeout", "above zero"},
		"read_timeout = -1s":                                             {"read_timeout", "above zero"},
		"write_timeout = soon":                                           {"write_timeout", "seconds"},
		"read_timeout = nan":                                             {"read_timeout", "above zero"},
		"read_timeout = 1e300":                                           {"read_timeout", "above zero"},
		"pool_size = -1":                                                 {"pool_size", "from 1"},
		"pool_size = many":                                               {"pool_size", "integer"},
		"url = redis://r\nhost = r":                                      {"url", "no host"},
		"url = redis://r\npassword = p":                                  {"url", "no password"},
		"url = redis://r\nunix_socket_path = /s":                         {"url", "no unix_socket_path"},
		"url = redis://r\nmaster_name = m":                               {"url", "no master_name"},
		"url = redis://r\ncluster_addrs = a":                             {"url", "no cluster_addrs"},
		"url = http://r":                                                 {"url", "redis://"},
		"url = redis://r?max_retries=3":                                  {"url", "parameters"},
		"url = redis://r?read_timeout=0":                                 {"url", "silent"},
		"url = redis://r/-1":                                             {"url", "its db"},
		"url = redis://r:0":                                              {"url", "its host"},
		"url = redis://joe@r":                                            {"url", "its username"},
		"url = unix://run/r.sock":                                        {"url", "absolute"},
		"master_name = m":                                                {"sentinel_addrs", "one Sentinel"},
		"sentinel_addrs = a":                                             {"sentinel_addrs", "master_name"},
		"sentinel_password = p":                                          {"master_name", "name"},
		"master_name = m\nsentinel_addrs = a\nhost = r":                  {"master_name", "no host"},
		"master_name = m\nsentinel_addrs = a\ncluster_addrs = b":         {"master_name", "either"},
		"master_name = m\nsentinel_addrs = a:b":                          {"sentinel_addrs", "port"},
		"master_name = m\nsentinel_addrs = a\nsentinel_username = u":     {"sentinel_username", "sentinel_password"},
		"master_name = m\nsentinel_addrs = a\nunix_socket_path = r.sock": {"master_name", "unix_socket_path"},
		"cluster_addrs = a:b:c":                                          {"cluster_addrs", "host:port"},
		"cluster_addrs = a\nport = 1":                                    {"cluster_addrs", "port"},
		"cluster_addrs = a\ndb = 1":                                      {"db", "0"},
	} {
		_, dir, err := loadIni(t, "[redis_client]\n"+ini)
		if !assert.ErrorIs(t, err, tracbus.ErrConfig, ini) {
			continue
		}
		bad := requireConfigError(t, err)
		assert.Equal(t, want.option, bad.Option, "%s: %v", ini, err)
		assert.Contains(t, err.Error(), want.word, ini)
		assert.Equal(t, dir+"/trac.ini", bad.File, ini)
	}
}

func TestRedisConfigErrorsInGo(t *testing.T) {
	for want, c := range map[string]tracbus.RedisConfig{
		`host = "r": want host:port, an IPv6 address in brackets`: {Addr: "r"},
		`host = "r:x": want a port from 1 to 65535`:               {Addr: "r:x"},
		`read_timeout = "-1ns": want a time above zero`:           {ReadTimeout: -1},
	} {
		client, err := c.NewClient()
		assert.EqualError(t, err, want)
		assert.Nil(t, client)
	}
}

func TestNewClientOptions(t *testing.T) {
	t.Run("one server", func(t *testing.T) {
		got := newClient(t, tracbus.RedisConfig{}).(*redis.Client).Options()
		assert.Equal(t, "tcp", got.Network)
		assert.Equal(t, "localhost:6379", got.Addr)
		assert.Equal(t, 5*time.Second, got.DialTimeout)
		assert.Equal(t, 5*time.Second, got.ReadTimeout)
		assert.Equal(t, 5*time.Second, got.WriteTimeout)
		assert.True(t, got.ContextTimeoutEnabled)
		assert.Nil(t, got.TLSConfig)
	})
	t.Run("a unix socket", func(t *testing.T) {
		got := newClient(t, tracbus.RedisConfig{Addr: "/run/r.sock", DB: 2, Username: "joe", Password: tracbus.NewSecret("p")}).(*redis.Client).Options()
		assert.Equal(t, []any{"unix", "/run/r.sock", 2, "joe", "p"}, []any{got.Network, got.Addr, got.DB, got.Username, got.Password})
	})
	t.Run("TLS", func(t *testing.T) {
		files := testserver.Certificates(t)
		got := newClient(t, tracbus.RedisConfig{
			TLS: &tracbus.RedisTLS{CAFile: files.CA, CertFile: files.ClientCert, KeyFile: files.ClientKey, ServerName: "s"},
		}).(*redis.Client).Options().TLSConfig
		assert.Equal(t, "s", got.ServerName)
		assert.NotNil(t, got.RootCAs)
		assert.Len(t, got.Certificates, 1)
		assert.False(t, got.InsecureSkipVerify)
	})
	t.Run("a cluster", func(t *testing.T) {
		got := newClient(t, tracbus.RedisConfig{Cluster: []string{"a:1", "b:2"}, Password: tracbus.NewSecret("p"), TLS: &tracbus.RedisTLS{}}).(*redis.ClusterClient).Options()
		assert.Equal(t, []string{"a:1", "b:2"}, got.Addrs)
		assert.Equal(t, "p", got.Password)
		assert.NotNil(t, got.TLSConfig)
		assert.Equal(t, 5*time.Second, got.ReadTimeout)
	})
	t.Run("Sentinel", func(t *testing.T) {
		got := newClient(t, tracbus.RedisConfig{Sentinel: tracbus.RedisSentinel{MasterName: "m", Addrs: []string{"a:1"}}, DB: 4}).(*redis.Client).Options()
		assert.Equal(t, "FailoverClient", got.Addr)
		assert.Equal(t, 4, got.DB)
	})
}

// A trac.ini leads to a connection that Redis accepts, and a wrong password does
// not.
func TestNewClientConnects(t *testing.T) {
	server := miniredis.RunT(t)
	server.RequireUserAuth("joe", "p%ss#w;o\"rd żó")
	ini := "[redis_client]\nhost = " + server.Host() + "\nport = " + server.Port() + "\ndb = 3\nusername = joe\n"
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	config, _, err := loadIni(t, ini+"password = p%ss#w;o\"rd żó")
	require.NoError(t, err)
	client := newClient(t, config.Redis)
	require.NoError(t, client.Set(ctx, "k", "v", 0).Err())
	server.Select(3)
	server.CheckGet(t, "k", "v")

	config, _, err = loadIni(t, ini+"password = hunter2")
	require.NoError(t, err)
	err = newClient(t, config.Redis).Ping(ctx).Err()
	require.ErrorContains(t, err, "WRONGPASS")
	assert.NotContains(t, err.Error(), "hunter2")
}

func newClient(t *testing.T, c tracbus.RedisConfig) redis.UniversalClient {
	t.Helper()
	client, err := c.NewClient()
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// A key that does not belong to the certificate, and an authority that is none.
func TestRedisTLSFiles(t *testing.T) {
	one, other := testserver.Certificates(t), testserver.Certificates(t)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o644))
	for option, c := range map[string]tracbus.RedisTLS{
		"tls_cert": {CertFile: one.ClientCert, KeyFile: other.ClientKey},
		"tls_ca":   {CAFile: empty},
	} {
		_, err := tracbus.RedisConfig{TLS: &c}.NewClient()
		assert.Equal(t, option, requireConfigError(t, err).Option, "%v", err)
	}
	_, err := tracbus.RedisConfig{TLS: &tracbus.RedisTLS{CAFile: "/no/such"}}.NewClient()
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// No error shows any part of a URL: where a password is not escaped, its parts
// end up as port, path, parameter or fragment.
func TestRedisURLErrorsHideThePassword(t *testing.T) {
	for _, password := range []string{"hunter2", "hun#ter2", "hun?ter2", "hun/ter2", "hun@ter2", "hun%ter2", "hun%zzter2", "hun:ter2", "hun ter2", "12?hunter=2", "12/hunter", "12#hunter", "hun\\ter2", "hun[ter2", "hun\x01ter2", "1;hunter"} {
		for _, url := range []string{
			"redis://:" + password + "@h:6379/0", "rediss://joe:" + password + "@h", "unix://joe:" + password + "@/r.sock",
			"redis://joe:" + password + "@h:port", "redis://h/" + password, "redis://h?db=" + password, "redis://h?read_timeout=" + password,
			"redis:" + password, "redis://" + password, password, "redis://h#" + password, "redis://h?" + password, "unix:///s?" + password + "=1",
			"redis://" + password + ":" + password + "@h:0",
		} {
			_, err := tracbus.ParseRedisURL(url)
			if err == nil {
				continue // escaped well enough
			}
			bad := requireConfigError(t, err)
			_, _, loadErr := loadIni(t, "[redis_client]\nurl = "+url)
			for _, text := range []string{err.Error(), bad.Error(), bad.Value, errString(errors.Unwrap(err)), errString(loadErr)} {
				assert.NotContains(t, text, "hunter", url)
				assert.NotContains(t, text, "ter2", url)
			}
		}
	}
	// Nor does a URL in the wrong place.
	for _, option := range []string{"host", "port", "db", "sentinel_addrs", "cluster_addrs", "tls_ca", "username", "dial_timeout"} {
		_, _, err := loadIni(t, "[redis_client]\n"+option+" = redis://joe:hunter2@h:1")
		assert.False(t, strings.Contains(errString(err), "hunter2"), "%s: %v", option, err)
	}
}

func errString(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestSecretNeverPrints(t *testing.T) {
	const password = "hunter2"
	secret := tracbus.NewSecret(password)
	redis := tracbus.RedisConfig{Password: secret, Sentinel: tracbus.RedisSentinel{Password: secret}}
	config, _, err := loadIni(t, "[redis_client]\nusername = joe\npassword = "+password+"\nmaster_name = m\nsentinel_addrs = a\nsentinel_password = "+password)
	require.NoError(t, err)
	require.Equal(t, password, config.Redis.Password.Reveal())
	type foreign struct { // knows nothing of secrets; fmt cannot ask unexported fields
		config tracbus.Config
		redis  *tracbus.RedisConfig
		secret tracbus.Secret
	}
	for _, value := range []any{
		secret, &secret, redis, &redis, *config, config, config.Redis, &config.Redis, redis.Sentinel,
		[]tracbus.Secret{secret}, map[string]tracbus.Secret{"k": secret}, map[tracbus.Secret]int{secret: 1},
		foreign{*config, &redis, secret}, &foreign{*config, &redis, secret}, []any{secret}, struct{ tracbus.Secret }{secret},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%08.3f", "%U", "% x", "%#q", "%+q", "%T", "%c", "%o", "%e", "%g", "%b", "%w"} {
			assertHidden(t, password, fmt.Sprintf(verb, value), "%s of %T", verb, value)
		}
		assertHidden(t, password, fmt.Sprint(value), "Sprint of %T", value)
		assertHidden(t, password, fmt.Errorf("x: %v", value).Error(), "Errorf of %T", value)
		if encoded, err := json.Marshal(value); err == nil {
			assertHidden(t, password, string(encoded), "JSON of %T", value)
		}
		for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
			"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var log bytes.Buffer
			slog.New(handler(&log)).Info("connect", "value", value, slog.Group("g", "value", value))
			assertHidden(t, password, log.String(), "slog %s of %T", name, value)
		}
	}
}

// assertHidden also finds the hexadecimal forms that %x and %X would give.
func assertHidden(t *testing.T, password, text, format string, args ...any) {
	t.Helper()
	for _, form := range []string{password, fmt.Sprintf("%x", password), fmt.Sprintf("%X", password), fmt.Sprintf("% x", password)} {
		assert.NotContains(t, text, form, fmt.Sprintf(format, args...))
	}
}

func TestSecretShowsWhetherThereIsOne(t *testing.T) {
	assert.Equal(t, `"[secret]" ""`, fmt.Sprintf("%v %v", tracbus.NewSecret("p"), tracbus.Secret{}))
	assert.Equal(t, tracbus.Secret{}, tracbus.NewSecret(""))

	var read struct{ Password tracbus.Secret }
	require.NoError(t, json.Unmarshal([]byte(`{"Password": "p"}`), &read))
	assert.Equal(t, "p", read.Password.Reveal())
	written, err := json.Marshal(read)
	require.NoError(t, err)
	assert.Equal(t, `{"Password":"[secret]"}`, string(written))
}

func TestSecretEqual(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"p", "p", true}, {"", "", true}, {"p", "q", false}, {"p", "pp", false}, {"p", "", false}} {
		a, b := tracbus.NewSecret(c.a), tracbus.NewSecret(c.b)
		assert.Equal(t, c.want, a.Equal(b), "%q and %q", c.a, c.b)
		assert.Equal(t, c.want, b.Equal(a), "%q and %q", c.b, c.a)
	}
	assert.True(t, tracbus.NewSecret("") == tracbus.Secret{}, "zero may be compared by ==")
}
