package tracbus_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

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
