package tracbus_test

import (
	"iter"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/tracbus/tracbus/internal/tracini"
)

// configDeviations are where LoadConfig is stricter than Trac, on purpose: each
// is an error that names the option.
var configDeviations = []struct {
	name, reason    string
	matches         func(c configCase, ini iniValues) bool
	section, option string // of our error; option is a pattern
}{
	{
		name:   "streams without the client",
		reason: "Trac raises an error at every change",
		matches: func(c configCase, ini iniValues) bool {
			return !c.enabled("redisclient") && (c.enabled("redisticketstream") || c.enabled("rediswikistream"))
		},
		section: "components", option: `^tracext`,
	},
	{
		name:   "a switch of unusual digits",
		reason: "Python reads it by accident",
		matches: func(c configCase, ini iniValues) bool {
			rules := map[string]string{} // the value by the name without .*
			for option, v := range ini.options("components") {
				rules[strings.TrimRight(option, ".*")] = v.Text
			}
			for _, name := range []string{"redis.redisclient", "ticket.redisticketstream", "wiki.rediswikistream"} {
				name = "tracext.redispub." + name
				text, ok := rules[name]
				for !ok && strings.Contains(name, ".") {
					name = name[:strings.LastIndex(name, ".")]
					text, ok = rules[name]
				}
				if _, _, err := tracini.Bool(text); err != nil && c.Outcome.OpenError == "" {
					return true
				}
			}
			return false
		},
		section: "components", option: `^tracext`,
	},
	{
		name:   "an integer that Trac refuses later",
		reason: "Trac raises an error at every change",
		matches: func(c configCase, ini iniValues) bool {
			return strings.Contains(c.Outcome.RedisError, "expected integer")
		},
		section: "redis_client", option: `^(port|db)$`,
	},
	{
		name:   "an integer of unusual digits or with underscores",
		reason: "Python reads it by accident",
		matches: func(c configCase, ini iniValues) bool {
			plain := regexp.MustCompile(`^\s*([+-]?[0-9]+)?\s*$`).MatchString
			return c.Outcome.Redis != nil && !(plain(ini.text("redis_client", "port")) && plain(ini.text("redis_client", "db")))
		},
		section: "redis_client", option: `^(port|db)$`,
	},
	{
		name:   "a place where no server can be",
		reason: "the plugin cannot connect at every change",
		matches: func(c configCase, ini iniValues) bool {
			r := c.Outcome.Redis
			if r == nil || r.Path != "" {
				return false
			}
			port, err := strconv.Atoi(r.Port.String())
			_, notIP := netip.ParseAddr(r.Host)
			return err != nil || port < 1 || port > 65535 || r.Host == "" || notIP != nil && strings.ContainsFunc(r.Host, neverInHost)
		},
		section: "redis_client", option: `^(host|port)$`,
	},
	{
		name:   "a database below zero, or beyond all numbers",
		reason: "Redis answers with an error at every change",
		matches: func(c configCase, ini iniValues) bool {
			if c.Outcome.Redis == nil {
				return false
			}
			db, err := strconv.Atoi(c.Outcome.Redis.DB.String())
			return err != nil || db < 0
		},
		section: "redis_client", option: `^db$`,
	},
	{
		name:   "url beside other settings",
		reason: "the plugin has no option url; here it says where Redis is, and must say it alone",
		matches: func(c configCase, ini iniValues) bool {
			for _, option := range []string{"host", "port", "db", "username", "password", "unix_socket_path", "master_name", "cluster_addrs"} {
				if ini.text("redis_client", "url") != "" && ini.text("redis_client", option) != "" {
					return true
				}
			}
			return false
		},
		section: "redis_client", option: `^url$`,
	},
	{
		name:    "files that inherit each other",
		reason:  "Python gives up with a RecursionError",
		matches: func(c configCase, ini iniValues) bool { return strings.Contains(c.Outcome.OpenError, "RecursionError") },
		section: "inherit", option: `^file$`,
	},
}

// neverInHost is what neither a name nor an IP address has.
func neverInHost(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`:/\@[]?#`, r)
}

// iniValues are those of a trac.ini that can be read, and none of another.
type iniValues struct{ ini *tracini.Config }

func (v iniValues) text(section, option string) string {
	if v.ini == nil {
		return ""
	}
	found, _ := v.ini.Lookup(section, option)
	return found.Text
}

func (v iniValues) options(section string) iter.Seq2[string, tracini.Value] {
	if v.ini == nil {
		return func(func(string, tracini.Value) bool) {}
	}
	return v.ini.Options(section)
}

// notOfThePlugin are the options that mean something here alone: what Trac did
// says nothing of where Redis is then.
func (v iniValues) notOfThePlugin() bool {
	for option, value := range v.options("redis_client") {
		switch option {
		case "url", "username", "master_name", "sentinel_addrs", "sentinel_username", "sentinel_password", "cluster_addrs",
			"tls", "tls_ca", "tls_cert", "tls_key", "tls_server_name", "dial_timeout", "read_timeout", "write_timeout", "pool_size":
			if value.Text != "" {
				return true
			}
		}
	}
	return v.text("redispub", "new_values") != "" || v.text("redispub", "rare_events") != ""
}
