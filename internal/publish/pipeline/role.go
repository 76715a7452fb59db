package pipeline

import (
	"bytes"
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

// A question is a HELLO without arguments, which changes nothing and needs no right. It
// is used again and again, and takes the answer as it comes: nothing else in it matters.
type question struct {
	cmd  *redis.RawCmd
	once redis.Cmder
}

func newQuestion() question {
	cmd := redis.NewRawCmd(context.Background(), "hello")
	return question{cmd, redisconn.NoRetry(cmd)}
}

// again returns the command.
func (q question) again() redis.Cmder {
	q.cmd.SetVal(nil)
	q.cmd.SetErr(nil)
	return q.once
}

// role returns what the answer says: "master" or "replica".
func (q question) role() string {
	_, rest, _ := bytes.Cut(q.cmd.Val(), []byte("role\r\n"))
	line, rest, _ := bytes.Cut(rest, []byte("\r\n"))
	if !bytes.HasPrefix(line, []byte("$")) {
		return string(bytes.TrimPrefix(line, []byte("+")))
	}
	line, _, _ = bytes.Cut(rest, []byte("\r\n"))
	return string(line)
}

// asks says whether the question goes with a round trip: if nobody heard the last one.
func (r *role) asks() bool { return r.silent && !r.hidden }

// ask asks in a round trip of its own. An error says that the server did not answer, or
// that it is a replica.
func (s *Sender) ask(ctx context.Context) error {
	err := s.line.Use(ctx, func(c *redisconn.Conn) error { return c.Client().Process(ctx, s.hello.again()) })
	return s.answered(ctx, err)
}

// answered reads the answer. Which server a replica follows is for the log.
func (s *Sender) answered(ctx context.Context, err error) error {
	switch {
	case redisconn.IsReply(err):
		s.role.hidden = true
		return nil
	case err != nil || s.role.hidden || s.hello.role() != "replica":
		return err
	}
	info := redis.NewStringCmd(ctx, "info", "replication")
	if s.line.Conn() != nil {
		_ = s.line.Use(ctx, func(c *redisconn.Conn) error { return c.Client().Process(ctx, redisconn.NoRetry(info)) })
	}
	s.role.is(redisconn.PrimaryIn(info.Val()))
	return s.role.replica
}

// heard takes the answers to messages, and the one to the question, if it was asked in
// the same round trip. Messages from the first that nobody heard count only if the server
// is no replica: else they are to be sent again, where subscribers are.
func (s *Sender) heard(ctx context.Context, out Outcome, asked bool) Outcome {
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
	case asked:
		err = s.answered(ctx, s.hello.cmd.Err())
	default:
		err = s.ask(ctx)
	}
	if err == nil {
		return out
	}
	return Outcome{Replies: out.Replies[:first], Unknown: true, Err: err}
}
