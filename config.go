package tracbus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/publish"
	"github.com/tracbus/tracbus/internal/tracini"
)

// Config is what a Trac environment's trac.ini says about publishing.
type Config struct {
	// Env is the short name of the environment, the second part of every channel:
	// the name of its folder.
	Env string

	// Publisher is [redispub], and what [components] says about the plugin's
	// parts.
	Publisher PublisherConfig

	// Redis is [redis_client].
	Redis RedisConfig

	// CustomFields are the custom fields of [ticket-custom], in Trac's order.
	CustomFields []CustomField

	// Warnings are for the log: what Trac passes over, such as an inherited file
	// that is not there, an unknown word where "enabled" is expected, or an unknown
	// option of [redispub] or [redis_client].
	Warnings []string
}

// ErrConfig is what every [*ConfigError] is, by [errors.Is].
var ErrConfig = errors.New("configuration")

// A ConfigError is a setting that cannot work. It never holds a secret, nor text
// that may be a part of one.
type ConfigError struct {
	File    string // trac.ini or one it inherits; "" for settings made in Go
	Line    int    // from 1; 0 where no line is to blame
	Section string // "" where the file as a whole is to blame
	Option  string
	Value   string // "" also where it may hold a secret
	Want    string // what was expected
	Err     error  // the cause, or nil
}

// Error names the place, the setting, its value unless that may be secret, and
// what was expected.
func (e *ConfigError) Error() string {
	var place []string
	if e.File != "" {
		place = append(place, e.File)
		if e.Line > 0 {
			place[0] += ":" + strconv.Itoa(e.Line)
		}
	}
	option := e.Option
	if e.Section != "" {
		option = strings.TrimSpace("[" + e.Section + "] " + option)
	}
	if e.Value != "" {
		option += fmt.Sprintf(" = %q", e.Value)
	}
	if option != "" {
		place = append(place, option)
	}
	if e.Want != "" {
		place = append(place, "want "+e.Want)
	}
	if e.Err != nil {
		place = append(place, e.Err.Error())
	}
	return strings.Join(place, ": ")
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// Is makes every ConfigError an [ErrConfig].
func (e *ConfigError) Is(target error) bool { return target == ErrConfig }

// because adds the cause; a path in it would tell what Value leaves out.
func (e *ConfigError) because(err error) *ConfigError {
	e.Err = err
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		e.Err = pathError.Err
	}
	return e
}

// LoadConfig reads a trac.ini as Trac does, unchanged, with what it inherits.
// path is the file, or the folder of the environment, where it is
// conf/trac.ini. Paths in it are relative to its folder.
//
// Every error is found here and is a [*ConfigError]: also settings that Trac
// would notice when the first change is published.
func LoadConfig(path string) (*Config, error) {
	file, err := filepath.Abs(path)
	if err != nil {
		return nil, &ConfigError{File: path, Err: err}
	}
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		file = filepath.Join(file, "conf", "trac.ini")
	}
	ini, err := tracini.Load(file)
	if err != nil {
		return nil, configError(err)
	}
	env, err := envName(file)
	if err != nil {
		return nil, err
	}
	found := &findings{}
	for _, missing := range ini.Missing {
		found.warn(missing, "[inherit] file: there is no file "+missing.Text)
	}
	section := func(name string) *iniSection {
		return &iniSection{ini: ini, file: file, name: name, found: found, known: map[string]bool{}}
	}
	publisher, client := section("redispub"), section("redis_client")
	c := &Config{
		Env:          env,
		Publisher:    readPublisher(publisher),
		Redis:        readRedis(client),
		CustomFields: readTicketFields(section("ticket-custom")),
	}
	c.Publisher.SkipRealms = readComponents(section("components"))
	publisher.warnOfUnknown()
	client.warnOfUnknown()
	c.Warnings = found.warnings
	if found.err != nil {
		return nil, found.err
	}
	return c, nil
}

// envName is the name of the folder that holds conf/trac.ini, or trac.ini alone.
// A symbolic link counts by its own name, as in Trac.
func envName(file string) (string, error) {
	dir := filepath.Dir(file)
	if filepath.Base(dir) == "conf" {
		dir = filepath.Dir(dir)
	}
	name := filepath.Base(dir)
	if name == string(filepath.Separator) || name == "." {
		return "", &ConfigError{File: file, Want: "a folder with a name, by which the environment is called"}
	}
	return name, nil
}

func readPublisher(r *iniSection) PublisherConfig {
	p := PublisherConfig{Prefix: r.textOr("channel_prefix", DefaultPrefix)}
	p.NoPrefix = p.Prefix == ""
	switch strings.ToLower(r.text("new_values")) {
	case "", "changed":
	case "all":
		p.FullNewValues = true
	default:
		r.fail("new_values", "changed (as plugin 0.1 sends them) or all (as plugin 0.2 does)")
	}
	p.ExtraEvents = r.flag("rare_events", false)
	readStream(r, &p)
	return p
}

// readStream reads what the plugin never had: the stream.
func readStream(r *iniSection, p *PublisherConfig) {
	p.StreamKey = r.text("stream")
	p.StreamMaxLen = int64(r.number("stream_length", 0))
	p.StreamMaxAge = r.duration("stream_age")
	alone := func(option string) {
		if p.StreamKey == "" && r.text(option) != "" {
			r.fail(option, "an option stream too")
		}
	}
	alone("stream_length")
	alone("stream_age")
	switch {
	case !publish.IsStreamKey(p.StreamKey):
		r.fail("stream", publish.StreamKeyWant)
	case p.StreamMaxLen < 0:
		r.fail("stream_length", "a number of entries from 1, or 0 for 100000")
	case p.StreamMaxAge > 0 && p.StreamMaxAge < time.Millisecond:
		r.fail("stream_age", "a millisecond at least")
	}
}

// The plugin's components, as [components] names them.
const (
	clientComponent = "tracext.redispub.redis.redisclient"
	ticketComponent = "tracext.redispub.ticket.redisticketstream"
	wikiComponent   = "tracext.redispub.wiki.rediswikistream"
)

// readComponents returns the realms whose component is not enabled. The longest
// rule that is a component's name or a beginning of it decides (Trac's
// Environment.is_component_enabled).
func readComponents(r *iniSection) (skip []Realm) {
	rules := map[string]string{} // option by name
	for option := range r.ini.Options(r.name) {
		rules[strings.TrimRight(option, ".*")] = option
	}
	client, clientOption := r.enabled(rules, clientComponent)
	for _, stream := range []struct {
		realm     Realm
		component string
	}{{RealmTicket, ticketComponent}, {RealmWiki, wikiComponent}} {
		on, _ := r.enabled(rules, stream.component)
		switch {
		case !on:
			skip = append(skip, stream.realm)
		case !client:
			r.fail(clientOption, "enabled, as "+stream.component+" is: without it Trac fails at every change")
		}
	}
	return skip
}

// enabled also returns the option that says so.
func (r *iniSection) enabled(rules map[string]string, component string) (on bool, option string) {
	for name := component; name != ""; {
		if option, ok := rules[name]; ok {
			on, known, err := tracini.Bool(r.text(option))
			switch {
			case err != nil:
				r.fail(option, "enabled or disabled, without "+err.Error())
			case !known:
				r.warn(option, fmt.Sprintf("= %q is neither enabled nor disabled, so it is disabled", r.text(option)))
			}
			return on, option
		}
		name = name[:max(0, strings.LastIndexByte(name, '.'))]
	}
	return false, component
}
