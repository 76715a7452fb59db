// Package quorum weighs what the nodes of a Redis Cluster say of each other. Its one
// secret is which of them has a slot when they do not agree, or do not answer.
package quorum

import (
	"fmt"
	"net"

	"github.com/redis/go-redis/v9"
)

// Node is a node of a cluster, as another one names it.
type Node struct {
	ID   string
	Addr string // to which to connect
	Said string // as the server says it
}

// Same says whether both are one node. A node keeps its id when its address
// changes, and behind a translation of addresses each may be named differently.
func (n Node) Same(other Node) bool {
	if n.ID != "" && other.ID != "" {
		return n.ID == other.ID
	}
	return n.Addr == other.Addr
}

// Named reads the name of a node in the answer of the one at origin, as go-redis
// does: a node that knows no better name of itself leaves out its host, or calls
// itself by an address that only its own machine understands; and its port is 0 if
// it speaks TLS only.
func Named(n redis.ClusterNode, origin string) Node {
	host, port, err := net.SplitHostPort(n.Addr)
	fromHost, fromPort, err2 := net.SplitHostPort(origin)
	if err != nil || err2 != nil {
		return Node{ID: n.ID, Addr: n.Addr, Said: n.Addr}
	}
	loopback := net.ParseIP(host).IsLoopback() && !isLoopback(fromHost)
	if host == "" || host == "?" || loopback {
		host = fromHost
	}
	if port == "0" {
		port = fromPort
	}
	return Node{ID: n.ID, Addr: net.JoinHostPort(host, port), Said: n.Addr}
}

func isLoopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// OwnerIn reads who has a slot in the answer of the node at an address.
func OwnerIn(slots []redis.ClusterSlot, slot int, by string) (Node, error) {
	for _, s := range slots {
		if s.Start <= slot && slot <= s.End && len(s.Nodes) > 0 {
			return Named(s.Nodes[0], by), nil
		}
	}
	return Node{}, fmt.Errorf("no node of the cluster has slot %d", slot)
}
