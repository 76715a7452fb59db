package script

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn"
)

// way is the way to the server that has the state. A call of the script may be made
// again after whatever became of it before, because Redis knows how far it came:
//
//	MOVED                 at the node that it names, from now on; with a client that is
//	                      not for a cluster it is an error
//	ASK                   at the node that it names, after an ASKING, this time
//	TRYAGAIN              after a moment: one of its keys is under way to that node
//	the connection broke  at once over a new one, if it has carried calls before: it was
//	                      idle, or the client would connect elsewhere now. Else, or a
//	                      second time, it is an error
//	no answer in time     never: it was waited for already
type way struct {
	main    *redisconn.Line
	aside   *redisconn.Line // to the node to which the slot is under way
	follows bool            // redirections
	cluster bool            // the server is a node of a cluster
}

func newWay(client redis.UniversalClient) way {
	router, settings := redisconn.NewRouter(client), redisconn.Settings{Database: true}
	_, follows := client.(*redis.ClusterClient)
	return way{main: redisconn.NewLine(router, settings), aside: redisconn.NewLine(router, settings), follows: follows}
}

func (w *way) close() {
	w.main.Close()
	w.aside.Close()
}

// The bounds of one call: how often it is sent elsewhere, and how long it waits in
// all for keys that are under way.
const (
	maxRedirections = 5
	maxMoments      = 15
	lastMoment      = 100 * time.Millisecond
)

// do sends one command and waits for its answer.
type do func(args []any) (any, error)

// call makes a call where the key is.
func (w *way) call(ctx context.Context, key string, f func(do) error) error {
	var redirections, moments int
	var aside, askedAside, broke bool
	for {
		line := w.main
		if aside {
			line = w.aside
		}
		conn := line.Conn() // asked once: it may end at any time
		fresh := conn == nil
		if fresh {
			var err error
			if conn, err = w.main.Connect(ctx, key); err != nil {
				return err
			}
			line, aside, w.cluster = w.main, false, conn.Place().Cluster
		}
		at := conn.Place().Addr
		err := f(func(args []any) (any, error) { return send(ctx, line, aside, args) })
		to, elsewhere := redisconn.RedirectionOf(err, at)
		switch {
		case elsewhere && w.follows && to.Asking && redirections < maxRedirections+moments:
			redirections++
			aside, askedAside = true, true
			if c := w.aside.Conn(); c == nil || c.Place().Addr != to.Addr {
				if _, err := w.aside.ConnectTo(ctx, to.Addr); err != nil {
					return err
				}
			}
			continue
		case elsewhere && w.follows && redirections < maxRedirections+moments:
			redirections++
			aside = false
			if _, err := w.main.ConnectTo(ctx, to.Addr); err != nil {
				return err
			}
			continue
		case redisconn.IsReply(err, "TRYAGAIN") && moments < maxMoments:
			moments++
			aside = false // it may be here or there by then
			if !redisconn.Pause(ctx, moments-1, lastMoment) {
				return ctx.Err()
			}
			continue
		case err != nil && !redisconn.IsReply(err):
			line.Close()
			if !fresh && !broke && redisconn.FailureOf(err) != redisconn.Silent {
				broke, aside = true, false
				continue
			}
		case redisconn.FailureOf(err) == redisconn.Misplaced:
			line.Close() // whoever calls again asks first where to
		}
		if !askedAside {
			w.aside.Close()
		}
		return err
	}
}

// send sends a command once. It was made for a slot that is under way if it is asking.
func send(ctx context.Context, line *redisconn.Line, asking bool, args []any) (any, error) {
	cmd := redis.NewCmd(ctx, args...)
	err := line.Use(ctx, func(c *redisconn.Conn) error {
		if !asking || args[0] == "script" { // which has no key
			return c.Client().Process(ctx, redisconn.NoRetry(cmd))
		}
		pipe := c.Client().Pipeline()
		_ = pipe.Process(ctx, redisconn.NoRetry(redis.NewStatusCmd(ctx, "asking"))) // only queues it
		_ = pipe.Process(ctx, redisconn.NoRetry(cmd))
		_, err := pipe.Exec(ctx)
		return err
	})
	return cmd.Val(), err
}
