package tracbus

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/tracini"
)

// iniSection reads options of one section, each by its name in lower case.
type iniSection struct {
	ini   *tracini.Config
	file  string // trac.ini, also where an option is inherited
	name  string
	found *findings
	known map[string]bool // options that were asked for
}

// findings are what is wrong with the file. The first error stays, so that
// options can be read one after the other.
type findings struct {
	warnings []string
	err      *ConfigError
}

func (r *iniSection) has(option string) bool {
	_, ok := r.lookup(option)
	return ok
}

func (r *iniSection) lookup(option string) (tracini.Value, bool) {
	r.known[option] = true
	return r.ini.Lookup(r.name, option)
}

// text is an option's value, or "".
func (r *iniSection) text(option string) string { return r.textOr(option, "") }

// textOr is an option's value, which may be empty, or other where there is none.
func (r *iniSection) textOr(option, other string) string {
	if v, ok := r.lookup(option); ok {
		return v.Text
	}
	return other
}

func (r *iniSection) secret(option string) Secret { return NewSecret(r.text(option)) }

// number is Trac's IntOption: an empty value is 0. Python also takes digits of
// other scripts and underscores; here they are errors.
func (r *iniSection) number(option string, other int) int {
	text := r.textOr(option, strconv.Itoa(other))
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		r.fail(option, "an integer in the digits 0 to 9")
	}
	return n
}

// flag is an option that Trac does not have: unlike Trac's, only words for yes
// and no will do.
func (r *iniSection) flag(option string, other bool) bool {
	text := r.text(option)
	if text == "" {
		return other
	}
	on, known, err := tracini.Bool(text)
	if err != nil || !known {
		r.fail(option, "enabled or disabled")
	}
	return on
}

// duration is a time: "500ms", or a number of seconds. Unset is 0.
func (r *iniSection) duration(option string) time.Duration {
	text := r.text(option)
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if seconds, notNumber := strconv.ParseFloat(text, 64); notNumber == nil && seconds < 1e9 {
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil || d <= 0 {
		r.fail(option, "a time above zero: a number of seconds, or one with a unit such as 500ms")
	}
	return d
}

// path is relative to the folder of trac.ini.
func (r *iniSection) path(option string) string {
	path := r.text(option)
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Dir(r.file) + string(filepath.Separator) + path
}

// fail notes that an option has not the value that is wanted.
func (r *iniSection) fail(option, want string) {
	r.failAt(&ConfigError{Section: r.name, Option: option, Value: printable(option, r.text(option)), Want: want})
}

// failAt notes an error that does not know yet where its option is.
func (r *iniSection) failAt(bad *ConfigError) {
	if r.found.err != nil {
		return
	}
	r.found.err, bad.File, bad.Section = bad, r.file, r.name
	if v, ok := r.ini.Lookup(r.name, bad.Option); ok {
		bad.File, bad.Line = v.File, v.Line
	}
}

// warn notes what Trac passes over.
func (r *iniSection) warn(option, what string) {
	v, _ := r.ini.Lookup(r.name, option)
	r.found.warn(v, fmt.Sprintf("[%s] %s %s", r.name, option, what))
}

// warnOfUnknown notes the options that nobody has asked for, once all are read.
// Those of [DEFAULT] may be meant for another section.
func (r *iniSection) warnOfUnknown() {
	for option, v := range r.ini.Options(r.name) {
		if !r.known[option] && v.Section == r.name {
			r.warn(option, "is not an option here, so it is passed over")
		}
	}
}

func (f *findings) warn(at tracini.Value, what string) {
	what = fmt.Sprintf("%s:%d: %s", at.File, at.Line, what)
	if !slices.Contains(f.warnings, what) {
		f.warnings = append(f.warnings, what)
	}
}

// printable leaves out a value that is or may hold a secret.
func printable(option, value string) string {
	switch option {
	case "password", "sentinel_password", "url":
		return ""
	}
	if strings.Contains(value, "@") { // as in a URL in the place of a host
		return ""
	}
	return value
}

// configError makes the error of a file one of this package.
func configError(err error) error {
	var bad *tracini.Error
	if !errors.As(err, &bad) {
		return err
	}
	return &ConfigError{File: bad.File, Line: bad.Line, Section: bad.Section, Option: bad.Option, Want: bad.Want, Err: bad.Err}
}
