package redisconn

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// AnyKey names the slot at whose node a publisher without a stream publishes, and
// subscribers subscribe: between the nodes of a cluster a message may be lost.
const AnyKey = "tracbus"

// Router connects to the server to which a borrowed client would connect now. It
// remembers what it learns about a cluster. It is not for concurrent use.
type Router struct {
	client redis.UniversalClient
}

// NewRouter returns a router for one user of the client.
func NewRouter(client redis.UniversalClient) *Router { return &Router{client: client} }

// Connect connects to the server that has the key. The connection is greeted, and
// its place known.
func (r *Router) Connect(ctx context.Context, key string, s Settings) (*Conn, error) {
	node, err := Master(ctx, r.client, key)
	if err != nil {
		return nil, err
	}
	return r.greet(ctx, node.Options(), s)
}

// ConnectTo connects to a node of the client's cluster that another one has named
// in its answer: see [Redirection].
func (r *Router) ConnectTo(ctx context.Context, addr string, s Settings) (*Conn, error) {
	node, err := Master(ctx, r.client, AnyKey)
	if err != nil {
		return nil, err
	}
	o := *node.Options()
	o.Addr = addr
	return r.greet(ctx, &o, s)
}

// greet opens a connection and learns where it leads to.
func (r *Router) greet(ctx context.Context, o *redis.Options, s Settings) (*Conn, error) {
	c, err := open(ctx, o, s)
	if err != nil {
		return nil, err
	}
	if err := c.place.ask(c.ctx, c.client); err != nil {
		err = c.Why(err)
		c.Close()
		return nil, err
	}
	return c, nil
}
