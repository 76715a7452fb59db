// Package environment reads what a Trac environment says of itself in its trac.ini,
// and what the process environment says in its place. Its secret is which of them wins.
package environment

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/cmd/tracbus/internal/tracdb"
	"github.com/tracbus/tracbus/internal/tracini"
)

// DatabaseVariable names a variable with a connection string of Trac's form that wins
// over the one in trac.ini, and RedisVariable one with the URL of a Redis that wins over
// [redis_client]. So a relay can have users of its own.
const (
	DatabaseVariable = "TRACBUS_DATABASE"
	RedisVariable    = "TRACBUS_REDIS"
)

// Environment is a Trac environment.
type Environment struct {
	// Config is what trac.ini says about publishing. Its Redis is that of
	// RedisVariable if that is set.
	Config *tracbus.Config

	// NothingEnabled says that trac.ini enables some of the plugin's components, and none
	// that publishes.
	NothingEnabled bool

	folder   string
	database tracbus.Secret // the connection string
	place    string         // where that is, for errors
}

// Load reads the environment in a folder, or that of a trac.ini. Each error but of the
// variables is a [*tracbus.ConfigError].
func Load(path string) (*Environment, error) {
	config, err := tracbus.LoadConfig(path)
	if err != nil {
		return nil, err
	}
	if !utf8.ValidString(config.Env) {
		return nil, &tracbus.ConfigError{File: path, Want: "a folder whose name is UTF-8, for it is a part of every channel"}
	}
	file, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		file = filepath.Join(file, "conf", "trac.ini")
	}
	ini, err := tracini.Load(file)
	if err != nil {
		return nil, err
	}
	e := &Environment{Config: config, folder: filepath.Dir(file), place: file + ": [trac] database"}
	if filepath.Base(e.folder) == "conf" {
		e.folder = filepath.Dir(e.folder)
	}
	text := "sqlite:db/trac.db" // Trac's default
	if v, ok := ini.Lookup("trac", "database"); ok {
		text, e.place = v.Text, fmt.Sprintf("%s:%d: [trac] database", v.File, v.Line)
	}
	if v := os.Getenv(DatabaseVariable); v != "" {
		text, e.place = v, "$"+DatabaseVariable
	}
	e.database = tracbus.NewSecret(text)
	if !saysAny(ini) { // then starting a relay is what says that changes are to be published
		config.Publisher.SkipRealms = nil
	}
	e.NothingEnabled = len(config.Publisher.SkipRealms) == 2
	if v := os.Getenv(RedisVariable); v != "" {
		if config.Redis, err = Redis(v); err != nil {
			return nil, fmt.Errorf("$%s: %w", RedisVariable, err)
		}
	}
	return e, nil
}

// components are those of the plugin.
const components = "tracext.redispub"

// saysAny says whether [components] says anything of the plugin's components: by its name, the
// beginning of it, or one of its parts.
func saysAny(ini *tracini.Config) bool {
	for option := range ini.Options("components") {
		rule := strings.TrimRight(option, ".*")
		if rule == components || strings.HasPrefix(rule, components+".") || strings.HasPrefix(components, rule+".") || rule == "" {
			return true
		}
	}
	return false
}

// Redis reads a URL. The error has no part of it.
func Redis(url string) (tracbus.RedisConfig, error) {
	c, err := tracbus.ParseRedisURL(url)
	if bad, ok := errors.AsType[*tracbus.ConfigError](err); ok {
		return c, fmt.Errorf("%w: want %s", tracbus.ErrConfig, bad.Want)
	}
	return c, err
}

// Database returns the environment's database. The error has no password.
func (e *Environment) Database() (*tracdb.Database, error) {
	d, err := tracdb.Parse(e.database.Reveal(), e.folder)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cmp.Or(e.place, e.folder), err)
	}
	return d, nil
}
