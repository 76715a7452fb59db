package redisconn

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn/quorum"
)

// AnyKey names the slot at whose node a publisher without a stream publishes, and
// subscribers subscribe: between the nodes of a cluster a message may be lost.
const AnyKey = "tracbus"

// Router connects to the server to which a borrowed client would connect now, and
// watches that it stays the one: see lookout.go. It remembers what it learns about
// the servers. Its methods are not for concurrent use.
type Router struct {
	client  redis.UniversalClient
	key     string // of the last connection
	members members
	past    past
}

// NewRouter returns a router for one user of the client.
func NewRouter(client redis.UniversalClient) *Router { return &Router{client: client} }

// Follows says whether the client goes where a node of a cluster sends it.
func (r *Router) Follows() bool {
	_, follows := r.client.(*redis.ClusterClient)
	return follows
}

// Connect connects to the server that has the key. The connection is greeted, and
// its place known.
func (r *Router) Connect(ctx context.Context, key string, s Settings) (*Conn, error) {
	r.key = key
	switch client := r.client.(type) {
	case *redis.Client:
		if bySentinel(client.Options()) {
			return r.connectBySentinels(ctx, client.Options(), s)
		}
		c, err := r.open(ctx, client.Options(), s)
		if err != nil {
			return nil, err
		}
		l := &lookout{conn: c, o: client.Options(), past: &r.past}
		c.again = true
		c.watching.Go(l.connectAgain)
		return r.greeted(c, s)
	case *redis.ClusterClient:
		return r.connectCluster(ctx, client, nil, s)
	}
	return nil, fmt.Errorf("client of type %T: expected *redis.Client or *redis.ClusterClient", r.client)
}

// connectBySentinels connects to the master that all of a client's Sentinels name; or
// as the client does, if it does not tell its Sentinels.
func (r *Router) connectBySentinels(ctx context.Context, o *redis.Options, s Settings) (*Conn, error) {
	var settings atomic.Pointer[sentinelSettings]
	c, err := r.open(context.WithValue(ctx, settingsKey{}, &settings), o, s)
	if err == nil {
		l := &lookout{conn: c, o: o, past: &r.past}
		c.watching.Go(func() { l.askSentinels(nil) })
		return r.greeted(c, s)
	} else if !errors.Is(err, errTold) {
		return nil, err
	}
	all := newSentinels(ctx, settings.Load())
	to, _, err := all.ask(ctx)
	if err == nil {
		c, err = r.open(ctx, all.towards(o, to), s)
	}
	if err != nil {
		all.close()
		return nil, err
	}
	l := &lookout{conn: c, o: o, past: &r.past}
	c.watching.Go(func() {
		defer all.close()
		l.askSentinels(all)
	})
	return r.greeted(c, s)
}

// ConnectTo connects to a node of the client's cluster that another one has named
// in its answer: see [Redirection].
func (r *Router) ConnectTo(ctx context.Context, addr string, s Settings) (*Conn, error) {
	client, ok := r.client.(*redis.ClusterClient)
	if !ok {
		return nil, fmt.Errorf("sent to %s: the client is not for a cluster", addr)
	}
	return r.connectCluster(ctx, client, &quorum.Node{Addr: addr, Said: addr}, s)
}

// connectCluster connects to the node that has the key, or to another one to which
// that has sent.
func (r *Router) connectCluster(ctx context.Context, client *redis.ClusterClient, sent *quorum.Node, s Settings) (*Conn, error) {
	council := newCouncil(ctx, client, r.key, &r.members)
	to := sent
	if to == nil {
		v, err := council.ask(ctx, quorum.Node{})
		if err != nil {
			council.close()
			return nil, fmt.Errorf("which node of the cluster has the slot of %q: %w", r.key, err)
		}
		to = &v.Owner
	}
	o := optionsOf(client, *to)
	c, err := r.open(ctx, o, s)
	if err != nil {
		council.close()
		return nil, err
	}
	c.place.node = *to
	l := &lookout{conn: c, o: o, past: &r.past}
	c.watching.Go(func() {
		defer council.close()
		l.askCouncil(council, *to, sent != nil)
	})
	return r.greeted(c, s)
}

// open makes a connection, within the time that the client gives it.
func (r *Router) open(ctx context.Context, o *redis.Options, s Settings) (*Conn, error) {
	return open(ctx, ctx, o, s)
}

// greeted completes a connection that is watched already: a server that stands
// does not greet.
func (r *Router) greeted(c *Conn, s Settings) (*Conn, error) {
	if s.subscribes {
		return c, nil
	}
	if err := c.greet(c.ctx, c.client); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// errNobody is what nobody's answer means.
var errNobody = errors.New("none of the nodes answers")
