package redisconn

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// nodes are servers that exist in a test only, by their addresses, so that time may be
// the test's, too. Nobody listens at another address.
type nodes struct {
	mu     sync.Mutex
	all    map[string]answering
	dialed map[string]int
	open   map[string][]net.Conn
}

// answering is what a node answers to a command. Nothing means that it stands.
type answering func(words []string) string

// stands is a node that takes what it is sent, and is silent.
func stands([]string) string { return "" }

// become has the node at an address answer so from now on. Nil is a node that is gone.
func (n *nodes) become(addr string, answers answering) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.all == nil {
		n.all, n.dialed, n.open = map[string]answering{}, map[string]int{}, map[string][]net.Conn{}
	}
	n.all[addr] = answers
	if answers == nil {
		for _, conn := range n.open[addr] {
			_ = conn.Close()
		}
		n.open[addr] = nil
	}
}

// dials returns how often somebody connected to an address, or tried to.
func (n *nodes) dials(addr string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dialed[addr]
}

// answers returns what the node at an address answers.
func (n *nodes) answers(addr string, words []string) string {
	n.mu.Lock()
	f := n.all[addr]
	n.mu.Unlock()
	if f == nil {
		return ""
	}
	return f(words)
}

// dial is the Dialer of clients.
func (n *nodes) dial(_ context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dialed[addr]++
	if n.all[addr] == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: named(addr), Err: syscall.ECONNREFUSED}
	}
	near, far := net.Pipe()
	n.open[addr] = append(n.open[addr], far)
	said := make(chan string, 100) // whoever sends much does not read meanwhile
	go func() {
		for answer := range said {
			_, _ = io.WriteString(far, answer)
		}
	}()
	go func() {
		defer close(said)
		defer far.Close()
		for in := bufio.NewReader(far); ; {
			words, err := readCommand(in)
			if err != nil {
				return
			}
			if answer := n.answers(addr, words); answer != "" {
				said <- answer
			}
		}
	}()
	return remote{near, addr}, nil
}

// readCommand reads what a client sends.
func readCommand(in *bufio.Reader) (words []string, err error) {
	number := func() (n int) {
		var line string
		if line, err = in.ReadString('\n'); err == nil {
			n, err = strconv.Atoi(strings.TrimSpace(line[1:]))
		}
		return n
	}
	for range number() {
		word := make([]byte, number()+2)
		if err == nil {
			_, err = io.ReadFull(in, word)
		}
		if err != nil {
			return nil, err
		}
		words = append(words, strings.ToLower(string(word[:len(word)-2])))
	}
	return words, err
}

// says answers a command that begins with words, and no other one.
func says(command, answer string) answering {
	return func(words []string) string {
		if strings.HasPrefix(strings.Join(words, " "), command) {
			return answer
		}
		return "-ERR unknown command\r\n"
	}
}

// names is a node of a cluster that says which of them has all slots.
func names(owner string, others ...string) answering {
	slots := fmt.Sprintf("*1\r\n*%d\r\n:0\r\n:16383\r\n", 3+len(others))
	for _, addr := range append([]string{owner}, others...) {
		host, port, _ := net.SplitHostPort(addr)
		slots += fmt.Sprintf("*3\r\n$%d\r\n%s\r\n:%s\r\n$%d\r\n%s\r\n", len(host), host, port, len(addr), addr)
	}
	return says("cluster slots", slots)
}

// clusterClient is one that knows some of them by their addresses.
func (n *nodes) clusterClient(t *testing.T, addrs ...string) *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Dialer: n.dial, Protocol: 2, DisableIdentity: true, MaxRedirects: -1, DialerRetries: 1})
	t.Cleanup(func() {
		require.NoError(t, client.Close())
		<-time.After(time.Minute) // until nodes that are slow have answered
	})
	return client
}
