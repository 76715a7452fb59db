package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn/guard"
)

// Settings are what users of a [Conn] want differently.
type Settings struct {
	// Database selects the client's. Channels are the same in all of them, so
	// that only who uses keys needs it.
	Database bool

	// Silence is how long Redis may take to answer, beyond the time for which it
	// is asked to wait. Zero means the client's own time-out, for a whole answer.
	Silence time.Duration
}

// Conn is one connection, with the settings of a borrowed client. It ends with
// its context, when it breaks, when it is closed, or because the client would
// connect elsewhere now. It is never replaced: whoever owns it connects again
// through his [Router].
type Conn struct {
	ctx      context.Context
	hangUp   context.CancelCauseFunc
	client   *redis.Client
	wire     *wire
	place    Place
	watching sync.WaitGroup
}

// Client returns a client over this connection alone. It repeats nothing, and
// does not connect. Errors of it are to be given to [Conn.Why].
func (c *Conn) Client() *redis.Client { return c.client }

// Place says where the connection leads to.
func (c *Conn) Place() Place { return c.place }

// Context ends with the connection.
func (c *Conn) Context() context.Context { return c.ctx }

// Err says why the connection has ended, if it was for a reason that no command
// sees; else it is nil.
func (c *Conn) Err() error {
	if cause := context.Cause(c.ctx); cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return nil
}

// Why returns the reason for the error of a command: that of the connection's
// end, if it has one.
func (c *Conn) Why(err error) error {
	if err == nil || IsReply(err) {
		return err
	}
	if cause := c.Err(); cause != nil {
		return cause
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer: %w", err)
	}
	return err
}

// Close ends the connection, and waits for whoever watches it.
func (c *Conn) Close() {
	c.hangUp(nil)
	_ = c.client.Close()
	c.watching.Wait()
}

// wire is the connection itself, which is handed to go-redis once.
type wire struct {
	net.Conn
	given atomic.Bool
}

// ErrLost answers whoever tries to replace a connection.
var ErrLost = errors.New("the connection is lost")

// handOver is a [dialer] that gives the connection to a client, once.
func (w *wire) handOver(context.Context, string, string) (net.Conn, error) {
	if w.given.Swap(true) {
		return nil, ErrLost
	}
	return w, nil
}

// open makes a connection with the settings of a client's node.
func open(ctx context.Context, o *redis.Options, s Settings) (*Conn, error) {
	dialled, err := dial(ctx, o)
	if err != nil {
		return nil, err
	}
	dialled = guard.Wrap(dialled, guard.Own(), guard.NewSecrets(o.Password))
	c := &Conn{wire: &wire{Conn: dialled}}
	c.ctx, c.hangUp = context.WithCancelCause(ctx)
	context.AfterFunc(c.ctx, func() { _ = dialled.Close() })
	own := single(o, c.wire.handOver)
	own.ReadTimeout = o.ReadTimeout
	if s.Database {
		own.DB = o.DB
	}
	c.client = redis.NewClient(own)
	c.place = Place{Addr: o.Addr, Remote: dialled.RemoteAddr().String()}
	return c, nil
}
