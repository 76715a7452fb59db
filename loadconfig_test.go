package tracbus_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

// loadIni loads a text as the trac.ini of an environment called test; the other
// pairs are names and texts of files beside it.
func loadIni(t testing.TB, text string, files ...string) (config *tracbus.Config, dir string, err error) {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	dir = filepath.Join(root, "test", "conf")
	files = append(files, "trac.ini", text)
	for i := 0; i < len(files); i += 2 {
		file := filepath.Join(dir, files[i])
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(files[i+1]), 0o644))
	}
	config, err = tracbus.LoadConfig(filepath.Join(dir, "trac.ini"))
	return config, dir, err
}

func TestLoadConfigNamesTheEnvironmentByItsFolder(t *testing.T) {
	root := t.TempDir()
	write := func(path string) {
		require.NoError(t, os.MkdirAll(filepath.Join(root, filepath.Dir(path)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, path), nil, 0o644))
	}
	write("projects/alpha/conf/trac.ini")
	write("etc/beta/trac.ini")
	require.NoError(t, os.Symlink("projects/alpha", filepath.Join(root, "linked")))
	t.Chdir(filepath.Join(root, "projects", "alpha"))
	for path, want := range map[string]string{
		root + "/projects/alpha":                   "alpha",
		root + "/projects/alpha/":                  "alpha",
		root + "/projects/alpha/conf/trac.ini":     "alpha",
		root + "/projects/alpha/../alpha/conf/../": "alpha",
		root + "/linked":                           "linked", // as Trac calls it
		root + "/etc/beta/trac.ini":                "beta",
		"conf/trac.ini":                            "alpha",
		".":                                        "alpha",
		"../../linked/conf/trac.ini":               "linked",
	} {
		config, err := tracbus.LoadConfig(path)
		if assert.NoError(t, err, path) {
			assert.Equal(t, want, config.Env, path)
		}
	}
}

func TestLoadConfigDefaults(t *testing.T) {
	config, _, err := loadIni(t, "")
	require.NoError(t, err)
	assert.Equal(t, &tracbus.Config{
		Env: "test",
		Publisher: tracbus.PublisherConfig{
			Prefix:     "trac",
			SkipRealms: []tracbus.Realm{tracbus.RealmTicket, tracbus.RealmWiki}, // nothing is enabled
		},
	}, config)
}

func TestLoadConfigPublisher(t *testing.T) {
	config, _, err := loadIni(t, "[redispub]\nchannel_prefix =\nnew_values = All\nrare_events = yes\n[components]\ntracext.redispub.* = on")
	require.NoError(t, err)
	assert.Equal(t, tracbus.PublisherConfig{NoPrefix: true, FullNewValues: true, ExtraEvents: true}, config.Publisher)
}

func TestLoadConfigStream(t *testing.T) {
	config, _, err := loadIni(t, "[redispub]\nstream = {trac}:changes\nstream_length = 5000\nstream_age = 168h")
	require.NoError(t, err)
	assert.Empty(t, config.Warnings)
	p := config.Publisher
	assert.Equal(t, "{trac}:changes", p.StreamKey)
	assert.Equal(t, int64(5000), p.StreamMaxLen)
	assert.Equal(t, 7*24*time.Hour, p.StreamMaxAge)
}

func TestLoadConfigErrorsNameTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"[redis_client]\n\nport = abc":               "trac.ini:3: [redis_client] port = \"abc\": want an integer in the digits 0 to 9",
		"[redispub]\nnew_values = some":              "trac.ini:2: [redispub] new_values = \"some\": want changed (as plugin 0.1 sends them) or all (as plugin 0.2 does)",
		"[redispub]\nrare_events = perhaps":          "trac.ini:2: [redispub] rare_events = \"perhaps\": want enabled or disabled",
		"[redispub]\nstream = a}b":                   "trac.ini:2: [redispub] stream = \"a}b\": want a key without }, or with braces around a part of it, as in {trac}:changes",
		"[redispub]\nstream = a\nstream_length = -1": "trac.ini:3: [redispub] stream_length = \"-1\": want a number of entries from 1, or 0 for 100000",
		"[redispub]\nstream = a\nstream_age = 7d":    "trac.ini:3: [redispub] stream_age = \"7d\": want a time above zero: a number of seconds, or one with a unit such as 500ms",
		"[redispub]\nstream = a\nstream_age = 1us":   "trac.ini:3: [redispub] stream_age = \"1us\": want a millisecond at least",
		"[redispub]\nstream_length = 5":              "trac.ini:2: [redispub] stream_length = \"5\": want an option stream too",
		"[ticket-custom]\na1 = text\na1.order = x":   "trac.ini:3: [ticket-custom] a1.order = \"x\": want an integer in the digits 0 to 9",
		"[a]\nb = 1\nB : 2":                          "trac.ini:3: [a] b: want each option once in a section (upper and lower case are the same)",
		"[a]\n[b]\n[a]":                              "trac.ini:3: [a]: want each section once in a file",
		"[a]\npassword hunter2":                      "trac.ini:2: [a]: want \"option = value\", a [section], or an indented line that continues a value",
		"[a]\n= 2":                                   "trac.ini:2: [a]: want the name of an option before the '='",
		"a = 1":                                      "trac.ini:1: want a [section] before anything else",
		"\ufeff[a]":                                  "trac.ini:1: want text without a byte-order mark (Trac refuses one; save the file as plain UTF-8)",
		"[a]\nb = \xe9":                              "trac.ini:2: [a]: want UTF-8 text, found other bytes",
		"[inherit]\nfile = trac.ini":                 "trac.ini:2: [inherit] file: want files that do not inherit each other, found DIR/trac.ini > DIR/trac.ini",
		"[components]\ntracext.redispub.wiki.* = on": "trac.ini: [components] tracext.redispub.redis.redisclient: want enabled, as tracext.redispub.wiki.rediswikistream is: without it Trac fails at every change",
		"[components]\ntracext.* = on\ntracext.redispub.redis* = off": "trac.ini:3: [components] tracext.redispub.redis* = \"off\": want enabled, as tracext.redispub.ticket.redisticketstream is: without it Trac fails at every change",
	} {
		_, dir, err := loadIni(t, text)
		requireConfigError(t, err)
		assert.Equal(t, dir+"/"+strings.ReplaceAll(want, "DIR", dir), err.Error(), text)
	}
	_, err := tracbus.LoadConfig(filepath.Join(t.TempDir(), "nowhere"))
	requireConfigError(t, err)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestLoadConfigInherits(t *testing.T) {
	t.Run("an error names the inherited file", func(t *testing.T) {
		_, dir, err := loadIni(t, "[inherit]\nfile = shared/base.ini", "shared/base.ini", "[redis_client]\nport = x")
		bad := requireConfigError(t, err)
		assert.Equal(t, dir+"/shared/base.ini", bad.File)
		assert.Equal(t, 2, bad.Line)
	})
	t.Run("each file names others relative to its own folder, but paths are relative to trac.ini", func(t *testing.T) {
		config, dir, err := loadIni(t, "[inherit]\nfile = shared/base.ini",
			"shared/base.ini", "[inherit]\nfile = more.ini", "shared/more.ini", "[redis_client]\nunix_socket_path = run/redis.sock")
		require.NoError(t, err)
		assert.Equal(t, dir+"/run/redis.sock", config.Redis.Addr)
	})
	t.Run("a file inherited twice is no cycle", func(t *testing.T) {
		config, _, err := loadIni(t, "[inherit]\nfile = a.ini, b.ini, a.ini",
			"a.ini", "[inherit]\nfile = c.ini", "b.ini", "[inherit]\nfile = c.ini\n[redispub]\nchannel_prefix = b", "c.ini", "[redispub]\nchannel_prefix = c")
		require.NoError(t, err)
		assert.Equal(t, "c", config.Publisher.Prefix)
	})
	t.Run("a long cycle is found", func(t *testing.T) {
		_, dir, err := loadIni(t, "[inherit]\nfile = x/a.ini", "x/a.ini", "[inherit]\nfile = ../x/b.ini", "x/b.ini", "[inherit]\nfile = ../x/../x/a.ini")
		bad := requireConfigError(t, err)
		assert.Equal(t, "inherit", bad.Section)
		assert.Contains(t, bad.Want, dir+"/x/a.ini > "+dir+"/x/b.ini > "+dir+"/x/a.ini")
	})
	t.Run("a missing file is passed over, with a warning", func(t *testing.T) {
		config, dir, err := loadIni(t, "[inherit]\nfile = no.ini, sub\n", "sub/x", "")
		require.NoError(t, err)
		assert.Equal(t, []string{
			dir + "/trac.ini:2: [inherit] file: there is no file " + dir + "/no.ini",
			dir + "/trac.ini:2: [inherit] file: there is no file " + dir + "/sub",
		}, config.Warnings)
	})
	t.Run("two dots after a linked folder mean what the system says", func(t *testing.T) {
		root := t.TempDir()
		for _, dir := range []string{"env", "real/conf"} {
			require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
		}
		require.NoError(t, os.Symlink("../real/conf", filepath.Join(root, "env", "conf")))
		require.NoError(t, os.WriteFile(filepath.Join(root, "real/conf/trac.ini"), []byte("[inherit]\nfile = ../base.ini"), 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(root, "real/base.ini"), []byte("[redispub]\nchannel_prefix = real"), 0o644))
		config, err := tracbus.LoadConfig(filepath.Join(root, "env"))
		require.NoError(t, err)
		assert.Equal(t, "env", config.Env)
		assert.Equal(t, "real", config.Publisher.Prefix)
	})
}

func TestLoadConfigWarnsOfUnknownSwitches(t *testing.T) {
	config, dir, err := loadIni(t, "[components]\ntracext.redispub.* = enabled ; all\nother.* = what")
	require.NoError(t, err)
	assert.Equal(t, []string{
		dir + `/trac.ini:2: [components] tracext.redispub.* = "enabled ; all" is neither enabled nor disabled, so it is disabled`,
	}, config.Warnings)
}

// A misspelt option is passed over, as in Trac, but not in silence. Its value may
// be a secret.
func TestLoadConfigWarnsOfUnknownOptions(t *testing.T) {
	config, dir, err := loadIni(t, `
[DEFAULT]
meant_for = another section
[inherit]
file = base.ini
[redispub]
Chanel_Prefix = hunter2
channel_prefix = p
new_values = all
rare_events = on
[redis_client]
tls_cafile = hunter2
host = r
[other]
whatever = 1
`, "base.ini", "[redis_client]\nport = 1\npass = hunter2\ntls_cafile = hunter2\n")
	require.NoError(t, err)
	assert.Equal(t, []string{
		dir + "/trac.ini:7: [redispub] chanel_prefix is not an option here, so it is passed over",
		dir + "/trac.ini:12: [redis_client] tls_cafile is not an option here, so it is passed over",
		dir + "/base.ini:3: [redis_client] pass is not an option here, so it is passed over",
	}, config.Warnings)

	for _, ini := range []string{
		"host = h\nport = 1\ndb = 2\nusername = u\npassword = p\ntls = on\ntls_server_name = s\ntls_ca =\ntls_cert =\ntls_key =\nunix_socket_path =\nurl =",
		"url = redis://h\nhost =\nport =\ndb =\nusername =\npassword =\nunix_socket_path =\ndial_timeout = 1\nread_timeout = 1\nwrite_timeout = 1\npool_size = 1",
		"master_name = m\nsentinel_addrs = s\nsentinel_username = u\nsentinel_password = p\ncluster_addrs =",
	} {
		config, _, err := loadIni(t, "[redis_client]\n"+ini)
		require.NoError(t, err, ini)
		assert.Empty(t, config.Warnings, ini)
	}
}

func TestLoadConfigTicketFields(t *testing.T) {
	config, dir, err := loadIni(t, `
[DEFAULT]
from_default = textarea

[ticket-custom]
Due_Date = time
due_date.order = 2
due_date.value = now + 1d
day = time
day.format = date
risk = select
risk.label = How Risky?
risk.options = | low | high|
risk.value = low
risk.order = 1
level = radio
urgent = checkbox
urgent.value = yes
notes = text
notes.format = wiki
odd = number
summary = text
x = text
9a = text
stray.label = no such field
`)
	require.NoError(t, err)
	assert.Equal(t, []tracbus.CustomField{
		{Name: "day", Type: "time", Label: "Day", Format: "date"},
		{Name: "from_default", Type: "textarea", Label: "From default", Format: "plain"},
		{Name: "notes", Type: "text", Label: "Notes", Format: "wiki"},
		{Name: "odd", Type: "number", Label: "Odd"},
		{Name: "urgent", Type: "checkbox", Label: "Urgent", Default: "1"},
		{Name: "risk", Type: "select", Label: "How Risky?", Default: "low", Options: []string{"low", "high"}, Order: 1},
		{Name: "due_date", Type: "time", Label: "Due date", Default: "now + 1d", Format: "datetime", Order: 2},
	}, config.CustomFields)
	at := dir + "/trac.ini"
	assert.Equal(t, []string{
		at + ":16: [ticket-custom] level has no options, so there is no such field",
		at + ":21: [ticket-custom] odd is of a type that Trac does not know (text, checkbox, select, radio, textarea, time)",
		at + ":22: [ticket-custom] summary is a name Trac keeps for itself, so there is no such field",
		at + ":23: [ticket-custom] x is not a name for a field (letters, digits and _, two at least, a letter first), so there is none",
		at + ":24: [ticket-custom] 9a is not a name for a field (letters, digits and _, two at least, a letter first), so there is none",
	}, config.Warnings)
}

// Whatever a trac.ini holds, LoadConfig returns, and says clearly what is wrong;
// what it takes, a client can be made of.
func FuzzLoadConfig(f *testing.F) {
	for _, c := range readConfigCases(f, "testdata/config_cases.json") {
		if c.TracIni != nil {
			f.Add(*c.TracIni)
		}
	}
	f.Add("[redis_client]\nurl = rediss://u:p@h:1/2?read_timeout=3s\ntls_server_name = x\npool_size = 3")
	f.Add("[redis_client]\nmaster_name = m\nsentinel_addrs = a, [::1], b:1\nsentinel_password = p")
	f.Add("[redis_client]\ncluster_addrs = a,::1\ndial_timeout = 1.5\ntls = yes")
	f.Add("[ticket-custom]\na_b = select\na_b.options = x|y\na_b.order = 3\nc.d = e\nt1 = time\nt1.value = x")
	f.Fuzz(func(t *testing.T, text string) {
		config, dir, err := loadIni(t, text, "b.ini", "[inherit]\nfile = trac.ini\n[redis_client]\npassword = hunter2")
		if err != nil {
			bad := requireConfigError(t, err)
			assert.Contains(t, bad.File, dir)
			assert.NotContains(t, err.Error(), "hunter2")
			assert.LessOrEqual(t, bad.Line, strings.Count(text, "\n")+strings.Count(text, "\r")+1)
			return
		}
		assert.Equal(t, "test", config.Env)
		client, err := config.Redis.NewClient()
		if assert.NoError(t, err) {
			assert.NoError(t, client.Close())
		}
	})
}

// Nothing of a trac.ini reaches a terminal as it is: neither by a warning nor by an error.
func TestConfigTextsAreHarmless(t *testing.T) {
	harmless := func(text string) {
		t.Helper()
		for _, r := range text {
			assert.True(t, unicode.IsPrint(r), "%q in %q", r, text)
		}
	}
	for _, hostile := range []string{"\x1b]0;title\a", "\u009b31m", "\u202e", "\x7f", "\u200b"} {
		dir := t.TempDir()
		file := filepath.Join(dir, "trac.ini")
		write := func(text string) {
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		}
		write("[inherit]\nfile = no" + hostile + "x.ini\n[redispub]\no" + hostile + "x = 1\n[redis_client]\np" + hostile + " = 1\n[ticket-custom]\nf" + hostile + " = text\ng = " + hostile + "\n")
		c, err := tracbus.LoadConfig(file)
		require.NoError(t, err)
		assert.Len(t, c.Warnings, 6)
		for _, warning := range c.Warnings {
			harmless(warning)
		}
		for _, text := range []string{
			"[redispub]\nnew_values = a" + hostile + "b\n", "[inherit]\nfile = trac.ini\n[a" + hostile + "]\nb", "[a" + hostile + "b]\nb" + hostile + "c\n",
			"[redis_client]\ntls_ca = a" + hostile + "b\n", "[redis_client]\nurl = redis://a" + hostile + "b:x/\n",
			"[components]\ntracext.redispub.* = " + hostile + "\n[redispub]\nstream_age = " + hostile + "\nstream = a\n",
		} {
			write(text)
			_, err = tracbus.LoadConfig(file)
			if assert.Error(t, err, "%q", text) {
				harmless(err.Error())
			}
		}
		_, err = tracbus.LoadConfig(filepath.Join(dir, "no"+hostile+"such"))
		if assert.Error(t, err) {
			harmless(err.Error())
		}
	}
}
