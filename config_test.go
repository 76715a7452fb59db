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
	"unicode"

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

// configDeviations are where LoadConfig is stricter than Trac, on purpose: each
// is an error that names the option.
var configDeviations = []struct {
	name, reason    string
	matches         func(c configCase) bool
	section, option string // of our error; option is a pattern
}{
	{
		name:   "streams without the client",
		reason: "Trac raises an error at every change",
		matches: func(c configCase) bool {
			return !c.enabled("redisclient") && (c.enabled("redisticketstream") || c.enabled("rediswikistream"))
		},
		section: "components", option: `^tracext`,
	},
	{
		name:   "a switch of unusual digits",
		reason: "Python reads it by accident",
		matches: func(c configCase) bool {
			return c.Outcome.OpenError == "" && c.says(`(?im)^tracext[^=:]*[=:].*\pN`, oddDigit)
		},
		section: "components", option: `^tracext`,
	},
	{
		name:    "an integer that Trac refuses later",
		reason:  "Trac raises an error at every change",
		matches: func(c configCase) bool { return strings.Contains(c.Outcome.RedisError, "expected integer") },
		section: "redis_client", option: `^(port|db)$`,
	},
	{
		name:   "an integer of unusual digits or with underscores",
		reason: "Python reads it by accident",
		matches: func(c configCase) bool {
			return c.Outcome.Redis != nil && (c.says(`(?im)^(port|db)\s*[=:].*\d_\d`, nil) || c.says(`(?im)^(port|db)\s*[=:].*\pN`, oddDigit))
		},
		section: "redis_client", option: `^(port|db)$`,
	},
	{
		name:   "a place where no server can be",
		reason: "the plugin cannot connect at every change",
		matches: func(c configCase) bool {
			r := c.Outcome.Redis
			if r == nil || r.Path != "" {
				return false
			}
			port, err := strconv.Atoi(r.Port.String())
			_, notIP := netip.ParseAddr(r.Host)
			return err != nil || port < 1 || port > 65535 || r.Host == "" || notIP != nil && strings.ContainsAny(r.Host, ":/[] \n@")
		},
		section: "redis_client", option: `^(host|port)$`,
	},
	{
		name:   "a database below zero, or beyond all numbers",
		reason: "Redis answers with an error at every change",
		matches: func(c configCase) bool {
			if c.Outcome.Redis == nil {
				return false
			}
			db, err := strconv.Atoi(c.Outcome.Redis.DB.String())
			return err != nil || db < 0
		},
		section: "redis_client", option: `^db$`,
	},
	{
		name:    "url beside other settings",
		reason:  "the plugin has no option url; here it says where Redis is, and must say it alone",
		matches: func(c configCase) bool { return c.says(`(?ims)^\[redis_client\][^\[]*^url\s*[=:]\s*\S`, nil) },
		section: "redis_client", option: `^url$`,
	},
	{
		name:    "files that inherit each other",
		reason:  "Python gives up with a RecursionError",
		matches: func(c configCase) bool { return strings.Contains(c.Outcome.OpenError, "RecursionError") },
		section: "inherit", option: `^file$`,
	},
}

func (c configCase) enabled(component string) bool {
	on := c.Outcome.Enabled[component]
	return on != nil && *on
}

// says tells whether trac.ini or a file beside it matches the pattern, and what
// matches has a rune that fits.
func (c configCase) says(pattern string, fits func(rune) bool) bool {
	texts := []string{c.text()}
	for _, text := range c.Files {
		texts = append(texts, text)
	}
	for _, text := range texts {
		for _, found := range regexp.MustCompile(pattern).FindAllString(text, -1) {
			if fits == nil || strings.ContainsFunc(found, fits) {
				return true
			}
		}
	}
	return false
}

func oddDigit(r rune) bool { return r > 0x7f && unicode.Is(unicode.Nd, r) }

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
			assert.Regexp(t, d.option, bad.Option, "%s: %v", d.name, err)
			assert.NotZero(t, bad.Want, "%s: %v", d.name, err)
			return
		}
	}
	if c.Outcome.OpenError != "" {
		bad := requireConfigError(t, err)
		assert.Contains(t, bad.File, root)
		if lines := regexp.MustCompile(`line:? +(\d+)`).FindAllStringSubmatch(c.Outcome.OpenError, -1); len(lines) == 1 {
			assert.Equal(t, lines[0][1], strconv.Itoa(bad.Line), "line of %v, recorded: %s", err, c.Outcome.OpenError)
		}
		return
	}
	require.NoError(t, err)
	assert.Equal(t, "test", config.Env)
	for component, realm := range map[string]tracbus.Realm{"redisticketstream": tracbus.TicketRealm, "rediswikistream": tracbus.WikiRealm} {
		assert.Equal(t, c.enabled(component), !slices.Contains(config.Publisher.Skip, realm), "%s is published", realm)
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
