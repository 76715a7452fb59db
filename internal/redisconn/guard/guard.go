// Package guard stands between a Redis client and its server. Its one secret is
// what an honest server never sends: it ends a connection whose answers would
// fill the memory, before the client makes room for them, and takes secrets out
// of errors before the client sees them.
package guard

import (
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Limits bound what a server may send. Sizes are in bytes.
type Limits struct {
	// Line is a line, without what a string of announced length holds, and an
	// error.
	Line int

	// Bulk is a string of announced length.
	Bulk int

	// Elements is how many elements all lists, sets and maps of one answer may
	// announce.
	Elements int

	// Depth is how deep they may be in each other.
	Depth int

	// Answer is a whole answer.
	Answer int

	// Subscribed says that pushes are answers of their own. Without it they count
	// to the answer that comes after them.
	Subscribed bool
}

// What Redis itself takes, unless somebody raises its limits. Nobody publishes a longer
// message than MaxString (proto-max-bulk-len), nor appends a larger entry to a stream
// than MaxCommand (client-query-buffer-limit): so whoever reads has to take as much, and
// no more. Two texts of 16 MB, which MySQL has at most, are 192 MB in JSON if each byte
// has to be escaped, but other databases have longer ones, and a ticket has many.
const (
	MaxString  = 512 << 20
	MaxCommand = 1 << 30
)

// Own are the limits of a connection on which only this library asks.
func Own() Limits {
	return Limits{Line: 64 << 10, Bulk: MaxString, Elements: 1 << 20, Depth: 16, Answer: MaxCommand}
}

// Lent are the limits of a client that an application uses for purposes of its
// own, too.
func Lent() Limits {
	return Limits{Line: 64 << 10, Bulk: MaxString, Elements: 8 << 20, Depth: 128, Answer: MaxCommand, Subscribed: true}
}

// A Violation is the error of a connection whose server sent what it never
// should. The connection is closed.
type Violation struct {
	Sent     string // such as "an array of 1000000000 elements"
	Expected string
	Foreign  bool // the server does not speak Redis's protocol at all
	Large    bool // it is a well-formed answer, but of a size beyond the limits
}

func (v *Violation) Error() string {
	return fmt.Sprintf("the server sent %s, expected %s", v.Sent, v.Expected)
}

// Conn is a guarded connection. As any connection it is read by one at a time.
type Conn struct {
	net.Conn
	secrets Secrets
	parser  parser
	held    []byte                    // of an error that has not ended yet
	ready   []byte                    // to be read before anything else
	broken  atomic.Pointer[Violation] // to be read after it
}

// Wrap guards a connection on which nothing was read. If it is guarded, it gets
// these limits and secrets instead.
func Wrap(conn net.Conn, limits Limits, secrets Secrets) net.Conn {
	if g, ok := conn.(interface{ guarded() *Conn }); ok {
		c := g.guarded()
		c.parser.limits, c.secrets = limits, append(c.secrets[:len(c.secrets):len(c.secrets)], secrets...)
		return conn
	}
	c := &Conn{Conn: conn, secrets: secrets, parser: newParser(limits)}
	if _, ok := conn.(syscall.Conn); ok {
		return visible{c}
	}
	return c
}

func (c *Conn) guarded() *Conn { return c }

// NetConn returns the connection that is guarded.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// visible is a guarded connection that go-redis may look at before it uses it
// again, to see whether the server has closed it.
type visible struct{ *Conn }

// SyscallConn implements syscall.Conn. What a reader was told, who looks is told,
// too.
func (v visible) SyscallConn() (syscall.RawConn, error) {
	if fault := v.broken.Load(); fault != nil {
		return nil, fault
	}
	return v.Conn.Conn.(syscall.Conn).SyscallConn()
}

// Read reads what the server sent. It copies nothing but errors.
func (c *Conn) Read(b []byte) (int, error) {
	for {
		switch {
		case len(c.ready) > 0:
			n := copy(b, c.ready)
			c.ready = c.ready[n:]
			return n, nil
		case c.broken.Load() != nil:
			return 0, c.broken.Load()
		}
		n, err := c.Conn.Read(b)
		passed := 0
		if len(c.held) == 0 {
			passed = c.pass(b[:n])
		}
		c.edit(b[passed:n])
		// With more to be read, an error of the connection comes again after it.
		if more := c.broken.Load() != nil || len(c.ready) > 0; !more && (passed > 0 || err != nil || n == 0) {
			return passed, err
		} else if passed > 0 {
			return passed, nil
		}
	}
}

// pass returns how much of b may be read as it is. What comes after it is an
// error to be edited, or nothing.
func (c *Conn) pass(b []byte) int {
	n, fault := c.parser.scan(b)
	if fault != nil {
		c.fail(fault)
	}
	return n
}

// SetReadDeadline tells whoever wants to read why the connection was closed.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if fault := c.broken.Load(); fault != nil {
		return fault
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *Conn) fail(fault *Violation) {
	c.broken.Store(fault)
	_ = c.Conn.Close()
}

// edit takes what comes next, beginning with an error or a part of one, and
// makes ready what may be read.
func (c *Conn) edit(b []byte) {
	for len(b) > 0 && c.broken.Load() == nil {
		if len(c.held) == 0 {
			n := c.pass(b)
			c.ready = append(c.ready, b[:n]...)
			if b = b[n:]; len(b) == 0 || c.broken.Load() != nil {
				return
			}
		}
		n, whole, fault := c.hold(b)
		if fault != nil {
			c.fail(fault)
			return
		}
		if b = b[n:]; whole {
			c.ready = append(c.ready, c.secrets.editReply(c.held)...)
			c.parser.skipError(len(c.held))
			c.held = c.held[:0]
		}
	}
}
