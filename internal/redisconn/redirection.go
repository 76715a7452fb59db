package redisconn

import (
	"errors"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Redirection says where else a node of a cluster sends a command.
type Redirection struct {
	// Addr is host:port of the other node.
	Addr string

	// Asking says that the slot is on its way there: the command, sent there, needs
	// an ASKING before it, and the next one is to be sent here again. Else the slot
	// is there for good.
	Asking bool
}

// RedirectionOf reads an answer MOVED or ASK of the node at an address.
func RedirectionOf(err error, from string) (Redirection, bool) {
	if err == nil {
		return Redirection{}, false
	}
	var reply redis.Error
	if !errors.As(err, &reply) {
		return Redirection{}, false
	}
	words := strings.Fields(reply.Error())
	if len(words) < 3 || words[0] != "MOVED" && words[0] != "ASK" {
		return Redirection{}, false
	}
	i := strings.LastIndexByte(words[2], ':')
	if i < 0 {
		return Redirection{}, false
	}
	host, port := strings.Trim(words[2][:i], "[]"), words[2][i+1:] // an IPv6 address has no brackets here
	if host == "" || host == "?" {                                 // this node does not know its own name
		own, _, err := net.SplitHostPort(from)
		if err != nil {
			return Redirection{}, false
		}
		host = own
	}
	return Redirection{Addr: net.JoinHostPort(host, port), Asking: words[0] == "ASK"}, true
}
