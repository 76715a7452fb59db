package redisconn

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// A Caller publishes messages that say only who has news, to the server at which
// subscribers with the same client are. Its methods may be called concurrently.
type Caller struct {
	mu   sync.Mutex // held while it calls
	line *Line
}

// NewCaller returns a caller that is not connected.
func NewCaller(client redis.UniversalClient) *Caller {
	return &Caller{line: NewLine(NewRouter(client), Settings{})}
}

// Call publishes the name of who calls on a channel. It says whether a subscriber has heard it, which the
// node of a cluster does not know: then it is true. A call may come twice: if an idle
// connection is closed, it goes out again over a new one.
func (c *Caller) Call(ctx context.Context, channel, name string) (heard bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := c.line.Conn() != nil
	heard, err = c.publish(ctx, channel, name)
	if idle && err != nil && ctx.Err() == nil && FailureOf(err) != Silent {
		heard, err = c.publish(ctx, channel, name)
	}
	return heard, err
}

// publish does it once. Who was not heard looks next time whether subscribers are
// elsewhere.
func (c *Caller) publish(ctx context.Context, channel, name string) (heard bool, err error) {
	conn := c.line.Conn()
	if conn == nil {
		if conn, err = c.line.Connect(ctx, AnyKey); err != nil {
			return false, err
		}
	}
	cmd := redis.NewIntCmd(ctx, "publish", channel, name)
	err = c.line.Use(ctx, func(c *Conn) error { return c.Client().Process(ctx, NoRetry(cmd)) })
	heard = err == nil && (cmd.Val() > 0 || conn.Place().Cluster)
	if !heard {
		c.line.Close()
	}
	return heard, err
}

// Close ends the connection. The next call makes another one.
func (c *Caller) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line.Close()
}
