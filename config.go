package tracbus

import (
	"cmp"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/plain"
	"github.com/tracbus/tracbus/internal/publish"
	"github.com/tracbus/tracbus/internal/redisconn/setting"
	"github.com/tracbus/tracbus/internal/tracini"
)

// Config is what a Trac environment's trac.ini says about publishing.
type Config struct {
	// Env is the short name of the environment, the second part of every channel:
	// the name of its folder.
	Env string

	// Publisher is [redispub], and what [components] says about the plugin's
	// components.
	Publisher PublisherConfig

	// Redis is [redis_client].
	Redis RedisConfig

	// CustomFields are the custom fields of [ticket-custom], in Trac's order.
	CustomFields []CustomField

	// Warnings are for the log: what Trac ignores, such as an inherited file
	// that is missing, an unknown word where "enabled" is expected, or an unknown
	// option of [redispub] or [redis_client]. Each is one line, without characters
	// that command a terminal.
	Warnings []string
}

// A CustomField is a custom field of tickets, as [ticket-custom] in trac.ini
// defines it (Trac's TracTicketsCustomFields).
type CustomField struct {
	// Name is the field's name in the database and in messages, in lower case.
	Name string

	// Type is text, checkbox, select, radio, textarea or time. Another one is
	// kept, as Trac keeps it, with a warning.
	Type string

	// Label is for people. Trac makes one from the name if none is set.
	Label string

	// Default is the value of a new ticket; "0" or "1" for a checkbox.
	Default string

	// Options are the values of a select or radio field, without the empty one.
	Options []string

	// Format is plain, wiki, reference or list for a text, plain or wiki for a
	// textarea, relative, date or datetime for a time. Other types have none.
	Format string

	// Order sorts fields; those of the same order are sorted by name.
	Order int
}

// ErrConfig is what every [*ConfigError] is, by [errors.Is].
var ErrConfig = errors.New("configuration")

// A ConfigError is a setting that cannot work. It never holds a secret, nor text
// that may be a part of one.
type ConfigError struct {
	File    string // trac.ini or one it inherits; "" for settings made in Go
	Line    int    // from 1; 0 if no line is to blame
	Section string // "" if the file as a whole is to blame
	Option  string // "" if no option is to blame
	Value   string // "" also if it may hold a secret
	Want    string // what was expected
	Err     error  // the cause, or nil
}

// Error names the place, the setting, its value unless that may be secret, and
// what was expected, on one line without characters that command a terminal.
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
		option += " = " + plain.Quote(e.Value)
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
	return plain.Line(strings.Join(place, ": "))
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// Is makes every ConfigError an [ErrConfig].
func (e *ConfigError) Is(target error) bool { return target == ErrConfig }

// configError makes an error of a file one of this package.
func configError(bad *tracini.Error) *ConfigError {
	return &ConfigError{File: bad.File, Line: bad.Line, Section: bad.Section, Option: bad.Option, Value: bad.Value, Want: bad.Want, Err: bad.Err}
}

// LoadConfig reads a trac.ini as Trac does, unchanged, with what it inherits.
// path is the file, or the folder of the environment that has it as
// conf/trac.ini. Paths in it are relative to its folder. With what it inherits, it
// has 1 MiB at most.
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
	if bad, ok := errors.AsType[*tracini.Error](err); ok {
		return nil, configError(bad)
	} else if err != nil {
		return nil, err
	}
	env, err := envName(file)
	if err != nil {
		return nil, err
	}
	found := &tracini.Findings{}
	ini.WarnOfMissing(found)
	publisher, client := ini.Section("redispub", found), ini.Section("redis_client", found)
	c := &Config{Env: env, Publisher: readPublisher(publisher), Redis: readRedis(client)}
	for _, f := range ini.Section("ticket-custom", found).TicketFields() {
		c.CustomFields = append(c.CustomFields, CustomField(f))
	}
	c.Publisher.SkipRealms = readComponents(ini.Section("components", found))
	publisher.WarnOfUnknown()
	client.WarnOfUnknown()
	c.Warnings = found.Warnings
	if found.Err != nil {
		return nil, configError(found.Err)
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

func readPublisher(r *tracini.Section) PublisherConfig {
	p := PublisherConfig{Prefix: r.StringOr("channel_prefix", DefaultPrefix)}
	p.NoPrefix = p.Prefix == ""
	switch strings.ToLower(r.String("new_values")) {
	case "", "changed":
	case "all":
		p.FullNewValues = true
	default:
		r.Fail("new_values", "changed (as plugin 0.1 sends them) or all (as plugin 0.2 does)")
	}
	p.ExtraEvents = r.Bool("rare_events", false)
	readStream(r, &p)
	return p
}

// readStream reads what the plugin never had: the stream.
func readStream(r *tracini.Section, p *PublisherConfig) {
	p.StreamKey = r.String("stream")
	p.StreamMaxLen = int64(r.Int("stream_length", 0))
	p.StreamMaxAge = r.Duration("stream_age")
	alone := func(option string) {
		if p.StreamKey == "" && r.String(option) != "" {
			r.Fail(option, "an option stream too")
		}
	}
	alone("stream_length")
	alone("stream_age")
	switch {
	case !publish.IsStreamKey(p.StreamKey):
		r.Fail("stream", publish.StreamKeyWant)
	case p.StreamMaxLen < 0:
		r.Fail("stream_length", "a number of entries from 1, or 0 for 100000")
	case p.StreamMaxAge > 0 && p.StreamMaxAge < time.Millisecond:
		r.Fail("stream_age", "a millisecond at least")
	}
}

// The plugin's components, as [components] names them.
const (
	clientComponent = "tracext.redispub.redis.redisclient"
	ticketComponent = "tracext.redispub.ticket.redisticketstream"
	wikiComponent   = "tracext.redispub.wiki.rediswikistream"
)

// readComponents returns the realms whose component is not enabled.
func readComponents(r *tracini.Section) (skip []Realm) {
	client, clientOption := r.Enabled(clientComponent)
	for _, stream := range []struct {
		realm     Realm
		component string
	}{{RealmTicket, ticketComponent}, {RealmWiki, wikiComponent}} {
		on, _ := r.Enabled(stream.component)
		switch {
		case !on:
			skip = append(skip, stream.realm)
		case !client:
			r.Fail(clientOption, "enabled, as "+stream.component+" is: without it Trac fails at every change")
		}
	}
	return skip
}

// readRedis reads [redis_client]: the plugin's options host, port, db, password
// and unix_socket_path as the plugin does, and those it promised.
func readRedis(r *tracini.Section) RedisConfig {
	var c RedisConfig
	if r.String("url") != "" {
		c = readRedisURL(r)
	} else {
		c.Addr, c.DB = readRedisAddr(r), r.Int("db", 0)
		c.Username, c.Password = r.String("username"), NewSecret(r.String("password"))
	}
	c.Sentinel = RedisSentinel{
		MasterName: r.String("master_name"),
		Addrs:      r.Addrs("sentinel_addrs", "26379"),
		Username:   r.String("sentinel_username"),
		Password:   NewSecret(r.String("sentinel_password")),
	}
	c.Cluster = r.Addrs("cluster_addrs", "6379")
	c.TLS = readRedisTLS(r, c.TLS)
	c.DialTimeout = cmp.Or(r.Duration("dial_timeout"), c.DialTimeout)
	c.ReadTimeout = cmp.Or(r.Duration("read_timeout"), c.ReadTimeout)
	c.WriteTimeout = cmp.Or(r.Duration("write_timeout"), c.WriteTimeout)
	c.PoolSize = cmp.Or(r.Int("pool_size", 0), c.PoolSize)
	if _, bad := c.check(); bad != nil {
		failRedis(r, bad)
	}
	return c
}

func failRedis(r *tracini.Section, bad *setting.BadSetting) {
	r.FailWith(&tracini.Error{Option: bad.Option, Value: tracini.Printable(bad.Option, bad.Value), Want: bad.Want, Err: bad.Err})
}

func readRedisURL(r *tracini.Section) RedisConfig {
	for _, option := range []string{"host", "port", "db", "username", "password", "unix_socket_path", "master_name", "cluster_addrs"} {
		if r.String(option) != "" {
			r.Fail("url", "no "+option+" beside it: the URL says it all")
		}
	}
	c, bad := parseRedisURL(r.String("url"))
	if bad != nil {
		failRedis(r, bad)
	}
	return c
}

// readRedisAddr returns where the plugin would connect to: a socket's path wins
// over host and port, which must then be readable, but nothing more.
func readRedisAddr(r *tracini.Section) string {
	host, port := r.StringOr("host", "localhost"), r.Int("port", 6379)
	if socket := r.String("unix_socket_path"); socket != "" {
		return tracini.RealPath(r.Path("unix_socket_path"))
	}
	if !r.Has("host") && !r.Has("port") {
		return ""
	}
	if bad := setting.CheckHost("host", host); bad != nil {
		failRedis(r, bad)
	}
	if port < 1 || port > 65535 {
		r.Fail("port", "a number from 1 to 65535")
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// readRedisTLS adds the options to what the URL's scheme says. The option tls =
// enabled is only needed if there is no other.
func readRedisTLS(r *tracini.Section, byURL *RedisTLS) *RedisTLS {
	t := RedisTLS{CAFile: r.Path("tls_ca"), CertFile: r.Path("tls_cert"), KeyFile: r.Path("tls_key"), ServerName: r.String("tls_server_name")}
	asked := byURL != nil || t != RedisTLS{}
	if on := r.Bool("tls", asked); !on {
		if asked {
			r.Fail("tls", "enabled, as there are other options for TLS or a rediss:// URL")
		}
		return nil
	}
	return &t
}
