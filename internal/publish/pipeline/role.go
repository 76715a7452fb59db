package pipeline

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn"
)

// role is what is known of the part that a server plays. A replica publishes as its
// master does, but to nobody: subscribers go to the master. Clients that were connected
// when it became one stay, and so does whoever goes to its address. Only the nodes of
// a cluster pass messages on to each other, whatever part they play.
type role struct {
	at      string // the server
	hidden  bool   // the user may not ask
	silent  bool   // nobody heard a message of the last round trip: ask in the next one
	replica error  // it is a replica
}

// roleAt returns the role of a server as it was found.
func roleAt(p redisconn.Place) role {
	r := role{at: p.String(), hidden: p.Role == "" || p.Cluster}
	if p.Role == "replica" && !p.Cluster {
		r.is(p.Primary)
	}
	return r
}

// is notes that the server is a replica.
func (r *role) is(of string) {
	if of == "" {
		of = "another server"
	}
	r.replica = fmt.Errorf("%s is a replica of %s, where subscribers are: expected the address of a master", r.at, of)
}

// queue adds the question to a round trip, if nobody heard the last one. HELLO without
// arguments changes nothing, and needs no right.
func (r *role) queue(ctx context.Context, pipe redis.Pipeliner) *redis.MapStringInterfaceCmd {
	if r.hidden || !r.silent {
		return nil
	}
	cmd := redis.NewMapStringInterfaceCmd(ctx, "hello")
	_ = pipe.Process(ctx, redisconn.NoRetry(cmd)) // only queues it
	return cmd
}

// ask asks in a round trip of its own. An error says that the server did not answer, or
// that it is a replica.
func (r *role) ask(ctx context.Context, line *redisconn.Line) error {
	cmd := redis.NewMapStringInterfaceCmd(ctx, "hello")
	err := line.Use(ctx, func(c *redisconn.Conn) error { return c.Client().Process(ctx, redisconn.NoRetry(cmd)) })
	return r.answered(ctx, line, cmd, err)
}

// answered reads the answer. Which server a replica follows is for the log.
func (r *role) answered(ctx context.Context, line *redisconn.Line, cmd *redis.MapStringInterfaceCmd, err error) error {
	switch {
	case redisconn.IsReply(err):
		r.hidden = true
		return nil
	case err != nil || cmd.Val()["role"] != "replica" || r.hidden:
		return err
	}
	info := redis.NewStringCmd(ctx, "info", "replication")
	if line.Conn() != nil {
		_ = line.Use(ctx, func(c *redisconn.Conn) error { return c.Client().Process(ctx, redisconn.NoRetry(info)) })
	}
	r.is(redisconn.PrimaryIn(info.Val()))
	return r.replica
}

// heard takes the answers to messages, and the one to the question, if it was asked in
// the same round trip. Messages from the first that nobody heard count only if the server
// is no replica: else they are to be sent again, where subscribers are.
func (s *Sender) heard(ctx context.Context, out Outcome, asked *redis.MapStringInterfaceCmd) Outcome {
	first := -1
	for i, reply := range out.Replies {
		if reply.Err == nil && reply.Receivers == 0 {
			first = i
			break
		}
	}
	s.role.silent = first >= 0
	if first < 0 || s.role.hidden {
		return out
	}
	var err error
	switch {
	case out.Err != nil && s.line.Conn() == nil, out.Err != nil && !redisconn.IsReply(out.Err):
		err = out.Err // it cannot be asked any more
	case asked != nil:
		err = s.role.answered(ctx, s.line, asked, asked.Err())
	default:
		err = s.role.ask(ctx, s.line)
	}
	if err == nil {
		return out
	}
	return Outcome{Replies: out.Replies[:first], Unknown: true, Err: err}
}
