package redisconn

import (
	"cmp"
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

	// Answer bounds an answer, in bytes. Zero means as [guard.Own] does with a Silence,
	// or for a subscriber; who only publishes or asks gets no long one.
	Answer int

	// Head is how much of each answer's beginning is kept, with a Silence.
	Head int

	subscribes bool // it is for a PubSub, which connects by itself
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
	node     *redis.Options // with which it was made, for others like it
	place    Place
	placed   chan struct{} // closed when the place is known
	again    bool          // whether it leads to where it should is found out by connections like it
	watching sync.WaitGroup
}

// Client returns a client over this connection alone. It repeats nothing, and
// does not connect. Errors of it are to be given to [Conn.Why].
func (c *Conn) Client() *redis.Client { return c.client }

// Place says where the connection leads to.
func (c *Conn) Place() Place { return c.place }

// Unwatched says that the client may connect elsewhere one day and nobody will notice,
// and why; or it returns nil.
func (c *Conn) Unwatched() error {
	if !c.again || c.place.refused == nil {
		return nil
	}
	return &UnwatchedError{"that the address leads to another server now, or that the server is a replica now, may go unnoticed: expected the right +info", c.place.refused}
}

// Waits says for how long the next commands ask Redis to wait, with a Silence.
func (c *Conn) Waits(d time.Duration) { c.wire.block.Store(int64(max(d, 0))) }

// Got returns how many bytes the last answer had, as far as it came.
func (c *Conn) Got() int64 { return c.wire.got.Load() }

// MaxAnswer returns how many it may have.
func (c *Conn) MaxAnswer() int { return c.wire.most }

// Head returns the beginning of the last answer: see [Settings].
func (c *Conn) Head() []byte { return c.wire.head }

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

// ErrLost answers whoever tries to replace a connection.
var ErrLost = errors.New("the connection is lost")

// maxShort bounds the answers of who gets no messages, in bytes. The longest names the
// nodes of a large cluster for each slot.
const maxShort = 32 << 20

// open makes a connection with the settings of a client's node. The attempt ends
// with ctx, the connection with life.
func open(ctx, life context.Context, o *redis.Options, s Settings) (*Conn, error) {
	c := &Conn{node: o, placed: make(chan struct{})}
	var addr atomic.Pointer[string]
	dialled, err := dial(context.WithValue(ctx, dialledKey{}, &addr), o)
	if err != nil {
		return nil, err
	}
	limits := guard.Own()
	limits.Subscribed = s.subscribes
	if !s.subscribes && s.Silence == 0 {
		limits.Answer = maxShort
	}
	limits.Answer = cmp.Or(s.Answer, limits.Answer)
	c.wire = &wire{
		Conn: guard.Wrap(dialled, limits, guard.NewSecrets(o.Password)), silence: s.Silence,
		most: limits.Answer, head: make([]byte, 0, s.Head),
	}
	c.wire.asked()
	c.ctx, c.hangUp = context.WithCancelCause(life)
	context.AfterFunc(c.ctx, func() { _ = dialled.Close() })

	c.place.Remote = remoteOf(dialled)
	switch named := addr.Load(); {
	case !bySentinel(o):
		c.place.Addr = o.Addr
	case named != nil:
		c.place.Addr = *named
	default: // the application's own dialer does not say
		c.place.Addr = c.place.Remote
	}
	own := single(o, c.wire.handOver)
	own.ReadTimeout = o.ReadTimeout
	if s.Database {
		own.DB = o.DB
	}
	if s.subscribes {
		own.OnConnect = func(ctx context.Context, cn *redis.Conn) error {
			if o.OnConnect != nil {
				if err := o.OnConnect(ctx, cn); err != nil {
					return err
				}
			}
			return c.greet(ctx, cn)
		}
	}
	c.client = redis.NewClient(own)
	return c, nil
}

// remoteOf returns the address at the other end, as far as a dialer of the
// application's tells it.
func remoteOf(c net.Conn) string {
	if addr := c.RemoteAddr(); addr != nil {
		return addr.String()
	}
	return ""
}

// greet learns where the connection leads to.
func (c *Conn) greet(ctx context.Context, a asker) error {
	if err := c.place.ask(ctx, a); err != nil {
		return c.Why(err)
	}
	close(c.placed)
	return nil
}

// bySentinel says whether a client asks Sentinels where to connect: go-redis has
// no other sign of it.
func bySentinel(o *redis.Options) bool { return o.Addr == failoverAddr }
