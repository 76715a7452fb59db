package tracbus_test

import (
	"encoding/json"
	"fmt"
	"net"
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
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/tracini"
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
			Port, DB json.Number // Python's have no limit
			Password string
			Path     string // of a unix socket
		}
		RedisError string `json:"redis_error"`
		Ops        []struct{ Error string }
	}
}

// Every recorded trac.ini says to LoadConfig what it said to Trac, but for a few
// that Trac notices too late or reads by accident: those are errors at load.
// The derived cases were not recorded: Python's configparser, int and float said
// what Trac makes of them. TRACBUS_CONFIG_CASES may name another file of cases.
func TestRecordedConfigs(t *testing.T) {
	files := []string{"testdata/config_cases.json", "testdata/config_cases_derived.json"}
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

func (c configCase) enabled(component string) bool {
	on := c.Outcome.Enabled[component]
	return on != nil && *on
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
			testkit.Skip(t, "an unreadable file was recorded as root, who may read everything")
		}
	case "symlink-conf":
		require.NoError(t, os.Symlink(c.Outcome.Redis.Path, filepath.Join(env, "conf", filepath.Base(c.Outcome.Redis.Path))))
	default:
		testkit.Skip(t, fmt.Sprintf("this test cannot prepare %q", c.Pre))
	}
	return root, env
}

func checkRecordedConfig(t *testing.T, c configCase, seen map[string]int) {
	root, env := c.prepare(t)
	config, err := tracbus.LoadConfig(env)
	loaded, _ := tracini.Load(filepath.Join(env, "conf", "trac.ini"))
	ini := iniValues{loaded}
	for _, d := range configDeviations {
		if d.matches(c, ini) {
			seen[d.name]++
			bad := requireConfigError(t, err)
			assert.Equal(t, d.section, bad.Section, "%s: %v", d.name, err)
			assert.Regexp(t, d.option, bad.Option, "%s: %v", d.name, err)
			assert.NotZero(t, bad.Want, "%s: %v", d.name, err)
			return
		}
	}
	if c.Outcome.OpenError != "" {
		bad := requireConfigError(t, err)
		assert.Contains(t, bad.File, root)
		if lines := regexp.MustCompile(`line:? +(\d+)`).FindAllStringSubmatch(c.Outcome.OpenError, -1); len(lines) == 1 {
			line, _ := strconv.Atoi(lines[0][1])
			if unreadable(bad) && strings.Contains(c.Outcome.OpenError, "Duplicate") {
				assert.Less(t, bad.Line, line, "Python keeps unreadable lines for last, and tells of a later duplicate first")
			} else {
				assert.Equal(t, line, bad.Line, "line of %v, recorded: %s", err, c.Outcome.OpenError)
			}
		}
		return
	}
	if ini.notOfThePlugin() { // of options that Trac does not know, it says nothing
		if err != nil {
			requireConfigError(t, err)
		}
		return
	}
	require.NoError(t, err)
	assert.Equal(t, "test", config.Env)
	for component, realm := range map[string]tracbus.Realm{"redisticketstream": tracbus.RealmTicket, "rediswikistream": tracbus.RealmWiki} {
		assert.Equal(t, c.enabled(component), !slices.Contains(config.Publisher.SkipRealms, realm), "%s is published", realm)
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
			assert.Equal(t, net.JoinHostPort(want.Host, want.Port.String()), got.Addr)
		}
		assert.Equal(t, want.DB.String(), strconv.Itoa(got.DB))
		assert.Equal(t, want.Password, got.Password)
	}
}

// unreadable tells whether the error is of a line, and not of what others say.
func unreadable(bad *tracbus.ConfigError) bool {
	return strings.HasPrefix(bad.Want, `"option = value"`) || strings.HasPrefix(bad.Want, "the name of an option")
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
