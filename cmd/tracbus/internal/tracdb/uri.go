// Package tracdb opens the database of a Trac environment. Its secret is how Trac
// reads its connection string (option database in [trac]), and what of it each Go
// driver has to be told.
package tracdb

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tracbus/tracbus"
)

// ErrConnectionString is what every error is that a connection string leads to before
// the database is asked. Its text has no part of the string that may be a part of a password.
var ErrConnectionString = errors.New("connection string of the database")

// wrong returns an ErrConnectionString that says what is wanted.
func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrConnectionString}, args...)...)
}

// uri is what Trac takes from a connection string (parse_connection_uri in
// trac/db/api.py of Trac 1.6). Zero means that it says nothing of it.
type uri struct {
	scheme   string
	user     string
	password tracbus.Secret
	host     string
	port     int
	path     string // of sqlite the file, else "/" and the database's name
	params   []param
}

type param struct{ name, value string }

// param returns the last value of a parameter, as Trac does.
func (u uri) param(name string) string {
	for _, p := range slices.Backward(u.params) {
		if p.name == name {
			return p.value
		}
	}
	return ""
}

// forms is for errors.
const forms = "sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE or mysql://USER:PASSWORD@HOST/DATABASE"

// parse reads a connection string as Trac does.
func parse(text string) (uri, error) {
	if text == "" {
		return uri{}, wrong("want one, such as sqlite:db/trac.db")
	}
	scheme, rest, found := strings.Cut(text, ":")
	if !found {
		return uri{}, wrong("want %s", forms)
	}
	u := uri{scheme: scheme}
	switch {
	case !strings.HasPrefix(rest, "/"):
		if scheme != "sqlite" || rest == "" {
			return uri{}, wrong("want %s", forms)
		}
		u.path = rest // relative, or in memory
	case strings.HasPrefix(rest, "///"):
		u.path = "/" + rest[3:]
	case strings.HasPrefix(rest, "//"):
		var path string
		u.host, path, _ = strings.Cut(rest[2:], "/")
		u.path = "/" + path
	default:
		u.path = rest
	}
	if err := u.splitHost(); err != nil {
		return uri{}, err
	}
	if err := u.splitPath(); err != nil {
		return uri{}, err
	}
	switch {
	case strings.ContainsRune(text, 0) || strings.Contains(text, "%00"):
		return uri{}, wrong("want no NUL character")
	case strings.Contains(u.host, "@") || u.scheme != "sqlite" && strings.Contains(u.path, "@"): // a part of a password, more likely
		return uri{}, wrong("want one '@', before the host; in user and password, %%40 for '@'")
	}
	return u, nil
}

// splitHost takes user, password and port off the host.
func (u *uri) splitHost() error {
	if user, host, found := strings.Cut(u.host, "@"); found {
		user, password, _ := strings.Cut(user, ":")
		u.user, u.password, u.host = unquote(user), tracbus.NewSecret(unquote(password)), host
	}
	host, port, found := strings.Cut(u.host, ":")
	if !found {
		return nil
	}
	number, err := strconv.Atoi(strings.TrimSpace(port))
	if err != nil || number < 0 || number > 65535 {
		return wrong("want a port from 1 to 65535 after the host's colon; in user and password, write %%3A for ':', %%40 for '@', %%2F for '/' and %%25 for '%%'; Trac takes no IPv6 address")
	}
	u.host, u.port = host, number
	return nil
}

// splitPath takes the parameters off the path.
func (u *uri) splitPath() error {
	path, query, found := strings.Cut(u.path, "?")
	u.path = path
	if !found {
		return nil
	}
	for text := range strings.SplitSeq(query, "&") {
		name, value, found := strings.Cut(text, "=")
		if !found {
			return wrong("want name=value for each parameter after the '?', with '&' between two")
		}
		u.params = append(u.params, param{name, unquote(value)})
	}
	return nil
}

// unquote is Python's urllib.parse.unquote: what is no escape stays, and bytes that
// are not UTF-8 become U+FFFD.
func unquote(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	if utf8.Valid(b) {
		return string(b)
	}
	return string([]rune(string(b)))
}
