package tracini

import (
	"fmt"
	"iter"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/plain"
)

// Findings are what is wrong with the options that were read. The first error
// stays, so that options can be read one after the other.
type Findings struct {
	Warnings []string // what Trac ignores; each once, and on one line that is harmless to a terminal
	Err      *Error

	warned map[string]bool // the warnings
}

// Section reads options of one section, each by its name in lower case. What is
// wrong with an option is added to its Findings, and the zero value returned.
type Section struct {
	config *Config
	name   string
	found  *Findings
	known  map[string]bool // options that were asked for
}

// Section returns a reader of a section, which may be missing.
func (c *Config) Section(name string, found *Findings) *Section {
	return &Section{config: c, name: name, found: found, known: map[string]bool{}}
}

// WarnOfMissing notes the inherited files that are missing.
func (c *Config) WarnOfMissing(found *Findings) {
	for _, missing := range c.Missing {
		found.warn(missing, "[inherit] file: there is no file "+missing.Text)
	}
}

// Options are all options, as in [Config.Options].
func (s *Section) Options() iter.Seq2[string, Value] { return s.config.Options(s.name) }

// Has says whether there is an option, even if it is empty.
func (s *Section) Has(option string) bool {
	_, ok := s.lookup(option)
	return ok
}

func (s *Section) lookup(option string) (Value, bool) {
	s.known[option] = true
	return s.config.Lookup(s.name, option)
}

// String is an option's value, or "".
func (s *Section) String(option string) string { return s.StringOr(option, "") }

// StringOr is an option's value, which may be empty, or other if there is no such
// option.
func (s *Section) StringOr(option, other string) string {
	if v, ok := s.lookup(option); ok {
		return v.Text
	}
	return other
}

// Int is Trac's IntOption: an empty value is 0. Python also takes digits of
// other scripts and underscores; here they are errors.
func (s *Section) Int(option string, other int) int {
	text := s.StringOr(option, strconv.Itoa(other))
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		s.Fail(option, "an integer in the digits 0 to 9")
	}
	return n
}

// Bool is for an option that Trac does not have: unlike Trac's, only words for
// yes and no will do.
func (s *Section) Bool(option string, other bool) bool {
	text := s.String(option)
	if text == "" {
		return other
	}
	on, known, err := Bool(text)
	if err != nil || !known {
		s.Fail(option, "enabled or disabled")
	}
	return on
}

// Duration is a time: "500ms", or a number of seconds. Empty is 0.
func (s *Section) Duration(option string) time.Duration {
	text := s.String(option)
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if seconds, notNumber := strconv.ParseFloat(text, 64); notNumber == nil && seconds < 1e9 {
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil || d <= 0 {
		s.Fail(option, "a time above zero: a number of seconds, or one with a unit such as 500ms")
	}
	return d
}

// Path is relative to the folder of trac.ini, even if the option is inherited.
func (s *Section) Path(option string) string {
	path := s.String(option)
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Dir(s.config.file()) + string(filepath.Separator) + path
}

// Addrs is a list of host:port, separated by commas. A missing port is the given
// one.
func (s *Section) Addrs(option, port string) []string {
	var addrs []string
	for _, addr := range List(s.String(option), ",") {
		ip := strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")
		switch _, err := netip.ParseAddr(ip); {
		case addr == "":
			continue
		case err == nil:
			addr = net.JoinHostPort(ip, port)
		case !strings.Contains(addr, ":"):
			addr = net.JoinHostPort(addr, port)
		}
		addrs = append(addrs, addr)
	}
	return addrs
}

// Enabled says whether [components] enables a component, and which option says
// so. The longest rule that is the component's name or a beginning of it decides
// (Trac's Environment.is_component_enabled).
func (s *Section) Enabled(component string) (on bool, option string) {
	rules := map[string]string{} // option by name
	for option := range s.Options() {
		rules[strings.TrimRight(option, ".*")] = option
	}
	for name := component; name != ""; {
		if option, ok := rules[name]; ok {
			on, known, err := Bool(s.String(option))
			switch {
			case err != nil:
				s.Fail(option, "enabled or disabled, without "+err.Error())
			case !known:
				s.warn(option, fmt.Sprintf("= %q is neither enabled nor disabled, so it is disabled", s.String(option)))
			}
			return on, option
		}
		name = name[:max(0, strings.LastIndexByte(name, '.'))]
	}
	return false, component
}

// Fail notes that an option does not have the value that is wanted.
func (s *Section) Fail(option, want string) {
	s.FailWith(&Error{Option: option, Value: Printable(option, s.String(option)), Want: want})
}

// FailWith notes an error that does not know yet where its option is.
func (s *Section) FailWith(bad *Error) {
	if s.found.Err != nil {
		return
	}
	s.found.Err, bad.File, bad.Section = bad, s.config.file(), s.name
	if v, ok := s.config.Lookup(s.name, bad.Option); ok {
		bad.File, bad.Line = v.File, v.Line
	}
}

// warn notes what Trac ignores.
func (s *Section) warn(option, what string) {
	v, _ := s.config.Lookup(s.name, option)
	s.found.warn(v, fmt.Sprintf("[%s] %s %s", s.name, option, what))
}

// WarnOfUnknown notes the options that were not asked for, once all are read.
// Those of [DEFAULT] may be meant for another section.
func (s *Section) WarnOfUnknown() {
	for option, v := range s.Options() {
		if !s.known[option] && v.Section == s.name {
			s.warn(option, "is not an option here, so it is passed over")
		}
	}
}

func (f *Findings) warn(at Value, what string) {
	what = plain.Line(fmt.Sprintf("%s:%d: %s", at.File, at.Line, what))
	if f.warned[what] {
		return
	}
	if f.warned == nil {
		f.warned = map[string]bool{}
	}
	f.warned[what] = true
	f.Warnings = append(f.Warnings, what)
}

// Printable leaves out a value that is or may hold a secret.
func Printable(option, value string) string {
	switch option {
	case "password", "sentinel_password", "url":
		return ""
	}
	if strings.Contains(value, "@") { // as in a URL that was given as a host
		return ""
	}
	return value
}
