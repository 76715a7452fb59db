package redisconn

import (
	"crypto/tls"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// An Outage keeps a loop from saying at each try why it has no connection. The zero
// Outage is one of which nothing was said.
type Outage struct{ told map[string]bool }

// maxReasons is how many reasons are told within one outage: a server may make them up.
const maxReasons = 8

// News notes why a try has failed, and says whether the user of the loop has to know.
// Each reason is news once, because it may be another one who has to act. How the
// network fails, which is the reason "", is news only if nothing was said before.
func (o *Outage) News(reason string) bool {
	if o.told[reason] || len(o.told) >= maxReasons || reason == "" && len(o.told) > 0 {
		return false
	}
	if o.told == nil {
		o.told = map[string]bool{}
	}
	o.told[reason] = true
	return true
}

// ReasonFor returns what somebody has answered, without what may differ each time. All
// ways in which a network fails are one reason, which is "".
func ReasonFor(err error) string {
	if about := sentinelWords(err); about != "" {
		if about == nobodyNames {
			return ""
		}
		return about
	}
	if reply, is := errors.AsType[redis.Error](err); is {
		text := reply.Error()
		code, _, _ := strings.Cut(text, " ")
		switch code {
		case "ERR", "NOPERM": // of which the text says what
			return text
		}
		return code
	}
	if errors.As(err, new(*tls.CertificateVerificationError)) {
		return "certificate"
	}
	return ""
}
