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
	var reply redis.Error
	if !errors.As(err, &reply) {
		return Redirection{}, false
	}
	words := strings.Fields(reply.Error())
	if len(words) < 3 || words[0] != "MOVED" && words[0] != "ASK" {
		return Redirection{}, false
	}
	addr := words[2]
	if i := strings.LastIndex(addr, ":"); i == 0 || strings.HasPrefix(addr, "?:") { // this node does not know its own name
		host, _, err := net.SplitHostPort(from)
		if err != nil {
			return Redirection{}, false
		}
		addr = net.JoinHostPort(host, addr[i+1:])
	}
	return Redirection{Addr: addr, Asking: words[0] == "ASK"}, true
}
