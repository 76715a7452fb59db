package setting

import (
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
)

// ParseURL reads a URL as go-redis does, but takes fewer parameters. It returns
// what was expected of the URL, or "".
func ParseURL(text string) (o *redis.Options, want string) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, "a URL; the characters %, #, /, ?, : and @ in a password are written as %25, %23, %2F, %3F, %3A and %40"
	case u.Scheme != "redis" && u.Scheme != "rediss" && u.Scheme != "unix":
		return nil, "a URL that starts with redis://, rediss:// or unix://"
	case u.Opaque != "" || u.Scheme != "unix" && !strings.HasPrefix(text[len(u.Scheme):], "://"):
		return nil, "two slashes after the first colon"
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, "no # (in a password it is written as %23)"
	case u.Scheme == "unix" && u.Host != "":
		return nil, "an absolute path after unix://"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, "parameters in the form of a=b&c=d (a ? in a password is written as %3F)"
	}
	for name := range query {
		switch name {
		case "db", "dial_timeout", "read_timeout", "write_timeout", "pool_size":
		default:
			return nil, "no parameters but db, dial_timeout, read_timeout, write_timeout and pool_size (a ? in a password is written as %3F)"
		}
	}
	o, err = redis.ParseURL(text)
	if err != nil {
		return nil, "redis://user:password@host:port/db, rediss:// for the same with TLS, or unix://user:password@/path?db=0"
	}
	if o.DialTimeout < 0 || o.ReadTimeout < 0 || o.WriteTimeout < 0 {
		return nil, "time-outs above zero: a silent Redis must not hold its callers for ever"
	}
	return o, ""
}
