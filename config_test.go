package tracbus_test

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

// configCase is a trac.ini and what Trac and the plugin made of it.
type configCase struct {
	ID       string
	Category string
	TracIni  *string           `json:"trac_ini"` // nil where Pre says it all
	Files    map[string]string // by path relative to the environment's folder
	Pre      string
	Outcome  struct {
		OpenError     string `json:"open_error"`
		Enabled       map[string]*bool
		ChannelPrefix *string `json:"channel_prefix"`
		Redis         *struct {
			Host     string
			Port, DB int
			Password string
			Path     string // of a unix socket
		}
		RedisError string `json:"redis_error"`
		Ops        []struct{ Error string }
	}
}

// Every recorded trac.ini says to LoadConfig what it said to Trac, but for a few
// that Trac notices too late or reads by accident: those are errors at load.
// TRACBUS_CONFIG_CASES may name another file of cases.
func TestRecordedConfigs(t *testing.T) {
	files := []string{"testdata/config_cases.json"}
	if more := os.Getenv("TRACBUS_CONFIG_CASES"); more != "" {
		files = append(files, more)
	}
	contract := []string{"components", "component-value", "redis_client", "redispub", "inherit", "ini-syntax"}
	for _, file := range files {
		seen := map[string]int{}
		for _, c := range readConfigCases(t, file) {
			if slices.Contains(contract, c.Category) {
				t.Run(filepath.Base(file)+"/"+c.ID, func(t *testing.T) { checkRecordedConfig(t, c, seen) })
			}
		}
		for _, d := range configDeviations {
			if file == files[0] && seen[d.name] == 0 {
				t.Errorf("no recorded case shows the deviation %q", d.name)
			}
		}
	}
}

// configDeviations are where LoadConfig is stricter than Trac, on purpose.
var configDeviations = []struct {
	name, reason string
	matches      func(c configCase) bool
	section      string   // of our error
	options      []string // of which our error names one
}{
	{
		name:    "streams without the client",
		reason:  "Trac raises an error at every change",
		matches: func(c configCase) bool { return c.opError("component must be enabled") },
		section: "components", options: []string{"tracext.redispub.redis.redisclient"},
	},
	{
		name:    "an integer that Trac refuses later",
		reason:  "Trac raises an error at every change",
		matches: func(c configCase) bool { return strings.Contains(c.Outcome.RedisError, "expected integer") },
		section: "redis_client", options: []string{"port", "db"},
	},
	{
		name:    "an integer of unusual digits or with underscores",
		reason:  "Python reads it by accident",
		matches: func(c configCase) bool { return c.Outcome.Redis != nil && c.says(`(?im)^(port|db)\s*[=:].*(\d_\d|[^\x00-\x7f])`) },
		section: "redis_client", options: []string{"port", "db"},
	},
	{
		name:    "a switch of unusual digits",
		reason:  "Python reads it by accident",
		matches: func(c configCase) bool { return c.says(`(?im)^tracext[^=:]*[=:]\s*[+-]?[0-9.]*[٠-٩०-९０-９]`) },
		section: "components", options: []string{"tracext.redispub.ticket.redisticketstream"},
	},
	{
		name:   "a place where no server can be",
		reason: "the plugin cannot connect at every change",
		matches: func(c configCase) bool {
			r := c.Outcome.Redis
			if r == nil || r.Path != "" {
				return false
			}
			_, notIP := netip.ParseAddr(r.Host)
			return r.Port < 1 || r.Port > 65535 || r.Host == "" || notIP != nil && strings.ContainsAny(r.Host, ":/[] \n@")
		},
		section: "redis_client", options: []string{"host", "port"},
	},
	{
		name:    "a database below zero",
		reason:  "Redis answers with an error at every change",
		matches: func(c configCase) bool { return c.Outcome.Redis != nil && c.Outcome.Redis.DB < 0 },
		section: "redis_client", options: []string{"db"},
	},
	{
		name:    "url beside other settings",
		reason:  "the plugin has no option url; here it says where Redis is, and must say it alone",
		matches: func(c configCase) bool { return c.says(`(?ims)^\[redis_client\][^\[]*^url\s*[=:]\s*\S`) },
		section: "redis_client", options: []string{"url"},
	},
	{
		name:    "files that inherit each other",
		reason:  "Python gives up with a RecursionError",
		matches: func(c configCase) bool { return strings.Contains(c.Outcome.OpenError, "RecursionError") },
		section: "inherit", options: []string{"file"},
	},
}

func (c configCase) opError(part string) bool {
	for _, op := range c.Outcome.Ops {
		if strings.Contains(op.Error, part) {
			return true
		}
	}
	return false
}

// says tells whether trac.ini or a file beside it matches the pattern.
func (c configCase) says(pattern string) bool {
	texts := []string{c.text()}
	for _, text := range c.Files {
		texts = append(texts, text)
	}
	return slices.ContainsFunc(texts, regexp.MustCompile(pattern).MatchString)
}

// text is trac.ini; the cases that only prepare one otherwise use a plain one.
func (c configCase) text() string {
	if c.TracIni != nil {
		return *c.TracIni
	}
	return "[components]\ntracext.redispub.* = enabled\n[redis_client]\nhost = 127.0.0.1\nport = 6391\n"
}

// prepare makes the environment and returns its folder.
func (c configCase) prepare(t *testing.T) (root, env string) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	env = filepath.Join(root, "test")
	ini := filepath.Join(env, "conf", "trac.ini")
	write := func(path, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(text, "%ROOT%", root)), 0o644))
	}
	write(ini, c.text())
	for path, text := range c.Files {
		write(filepath.Join(env, path), text)
	}
	switch c.Pre {
	case "":
	case "missing":
		require.NoError(t, os.Remove(ini))
	case "latin1":
		write(ini, c.text()+"[redispub]\nchannel_prefix = caf\xe9\n")
	case "unreadable":
		require.NoError(t, os.Chmod(ini, 0))
		if os.Geteuid() != 0 {
			t.Skip("recorded as root, who may read everything")
		}
	case "symlink-conf":
		require.NoError(t, os.Symlink(c.Outcome.Redis.Path, filepath.Join(env, "conf", filepath.Base(c.Outcome.Redis.Path))))
	default:
		t.Skipf("this test cannot prepare %q", c.Pre)
	}
	return root, env
}

func checkRecordedConfig(t *testing.T, c configCase, seen map[string]int) {
	root, env := c.prepare(t)
	config, err := tracbus.LoadConfig(env)
	for _, d := range configDeviations {
		if d.matches(c) {
			seen[d.name]++
			bad := requireConfigError(t, err)
			assert.Equal(t, d.section, bad.Section, "%s: %v", d.name, err)
			assert.Contains(t, d.options, bad.Option, "%s: %v", d.name, err)
			assert.NotZero(t, bad.Want, "%s: %v", d.name, err)
			return
		}
	}
	if c.Outcome.OpenError != "" {
		bad := requireConfigError(t, err)
		assert.Contains(t, bad.File, root)
		if line := regexp.MustCompile(`line:? +(\d+)`).FindStringSubmatch(c.Outcome.OpenError); line != nil {
			assert.Equal(t, line[1], strconv.Itoa(bad.Line), "line of %v, recorded: %s", err, c.Outcome.OpenError)
		}
		return
	}
	require.NoError(t, err)
	assert.Equal(t, "test", config.Env)
	for component, realm := range map[string]tracbus.Realm{"redisticketstream": tracbus.TicketRealm, "rediswikistream": tracbus.WikiRealm} {
		on := c.Outcome.Enabled[component]
		assert.Equal(t, on != nil && *on, !slices.Contains(config.Publisher.Skip, realm), "%s is published", realm)
	}
	if want := c.Outcome.ChannelPrefix; want != nil {
		assert.Equal(t, *want, config.Publisher.Prefix)
		assert.Equal(t, *want == "", config.Publisher.NoPrefix)
	}
	if want := c.Outcome.Redis; want != nil {
		client, err := config.Redis.NewClient()
		require.NoError(t, err)
		defer client.Close()
		got := client.(*redis.Client).Options()
		if want.Path != "" {
			assert.Equal(t, "unix", got.Network)
			assert.Equal(t, strings.ReplaceAll(want.Path, "%ROOT%", root), got.Addr)
		} else {
			assert.Equal(t, "tcp", got.Network)
			assert.Equal(t, net.JoinHostPort(want.Host, strconv.Itoa(want.Port)), got.Addr)
		}
		assert.Equal(t, want.DB, got.DB)
		assert.Equal(t, want.Password, got.Password)
	}
}

func readConfigCases(t testing.TB, file string) []configCase {
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var cases []configCase
	require.NoError(t, json.Unmarshal(data, &cases))
	return cases
}

func requireConfigError(t testing.TB, err error) *tracbus.ConfigError {
	t.Helper()
	require.ErrorIs(t, err, tracbus.ErrConfig)
	var bad *tracbus.ConfigError
	require.ErrorAs(t, err, &bad)
	return bad
}

// loadIni loads a text as the trac.ini of an environment called test; the other
// pairs are names and texts of files beside it.
func loadIni(t testing.TB, text string, files ...string) (*tracbus.Config, string, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "test", "conf")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	files = append(files, "trac.ini", text)
	for i := 0; i < len(files); i += 2 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o644))
	}
	config, err := tracbus.LoadConfig(filepath.Join(dir, "trac.ini"))
	return config, dir, err
}
