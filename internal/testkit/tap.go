package testkit

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// Tap hears what goes over the connections that are made with a client's dialer, also
// those that others make with its settings, which its hooks do not see. Commands are
// kept back until their sender waits for the answer: those of one round trip come at
// once.
type Tap struct {
	Dials atomic.Int64 // connections made

	mu     sync.Mutex
	before func(commands [][]string) error
	after  func(commands [][]string)
}

// NewTap taps a client that has not connected yet.
func NewTap(client *redis.Client) *Tap {
	t := new(Tap)
	o := client.Options()
	dial := o.Dialer
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		t.Dials.Add(1)
		return &tapped{Conn: conn, tap: t}, nil
	}
	return t
}

// Before has f called with the commands of each round trip before they are sent. If it
// returns an error, they are not: the connection is closed, and the sender gets the error
// in place of an answer.
func (t *Tap) Before(f func(commands [][]string) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.before = f
}

// After has f called when there is an answer to the first of them, which the sender
// does not have yet.
func (t *Tap) After(f func(commands [][]string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.after = f
}

func (t *Tap) hears() (before func([][]string) error, after func([][]string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.before, t.after
}

// tapped is a connection that is tapped. One goroutine at a time uses it.
type tapped struct {
	net.Conn
	tap  *Tap
	kept bytes.Buffer
	sent [][]string // whose answer was not seen
	err  error      // that ended it
}

func (c *tapped) Write(b []byte) (int, error) { return c.kept.Write(b) }

func (c *tapped) Read(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	before, after := c.tap.hears()
	if c.kept.Len() > 0 {
		c.sent = parsed(c.kept.Bytes())
		if before != nil {
			if c.err = before(c.sent); c.err != nil {
				_ = c.Conn.Close()
				return 0, c.err
			}
		}
		_, err := c.Conn.Write(c.kept.Bytes())
		c.kept.Reset()
		if err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(b)
	if n > 0 && after != nil && c.sent != nil {
		after(c.sent)
	}
	c.sent = nil
	return n, err
}

// parsed reads arrays of strings.
func parsed(b []byte) (commands [][]string) {
	in := bufio.NewReader(bytes.NewReader(b))
	for {
		var n int
		if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil {
			return commands
		}
		args := make([]string, n)
		for i := range args {
			var size int
			if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
				return commands
			}
			text := make([]byte, size+2)
			if _, err := io.ReadFull(in, text); err != nil {
				return commands
			}
			args[i] = string(text[:size])
		}
		commands = append(commands, args)
	}
}
