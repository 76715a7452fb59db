// Package pipeline publishes messages in order over a connection that may break
// at any byte. Its one secret is how to send again what was not answered, without
// the first try arriving after the second.
package pipeline

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn"
)

// Message is what PUBLISH takes.
type Message struct {
	Channel, Payload []byte
}

// Outcome says what became of the messages of one [Sender.Send].
type Outcome struct {
	// Replies are Redis's answers to the first messages, in order.
	Replies []Reply
	// Unknown says that the messages after these may have been published.
	Unknown bool
	// HungUp says that none was answered because Redis closed a connection on
	// which it had answered just before, as it does if a message is too long.
	HungUp bool
	// Err says why these were not answered; nil if all were.
	Err error
}

// Reply is Redis's answer to one message.
type Reply struct {
	Receivers int64
	// Err is a refusal that concerns this message alone: the user has no right
	// to the channel.
	Err error
}

// Sender publishes over one connection at a time, which is its own. It is not for
// concurrent use.
type Sender struct {
	line     *redisconn.Line
	fresh    bool          // its connection has answered, and carried no message yet
	idle     time.Duration // after which the connection may have been closed
	doubt    bool          // the previous connection may still execute commands
	suspect  carrier       // that connection
	carrier  carrier       // the connection
	unfenced bool
	role     role

	// What is used again and again:
	pipe    redis.Pipeliner
	piped   *redisconn.Conn // over which pipe leads
	cmds    []*publish
	queue   []redis.Cmder
	hello   question
	replies []Reply
}

// New returns a sender with the settings of a borrowed client, and with connections of
// its own.
func New(client redis.UniversalClient) *Sender {
	return &Sender{line: redisconn.NewLine(redisconn.NewRouter(client), redisconn.Settings{}), idle: time.Second, hello: newQuestion()}
}

// Unfenced says that a connection was broken and could not be killed, because
// the Redis user may not learn its number or kill it: a message that is sent again
// can also arrive late.
func (s *Sender) Unfenced() bool { return s.unfenced }

// Unwatched is [redisconn.Conn.Unwatched] of the connection.
func (s *Sender) Unwatched() error { return s.line.Unwatched() }

// Close ends the connection. The next call makes another one.
func (s *Sender) Close() {
	s.line.Close()
	s.pipe, s.piped = nil, nil
}

// Send publishes messages in one round trip. If nobody heard one, it makes sure that
// the server is one to which subscribers go, in the same round trip if nobody heard
// the one before either. The outcome is valid until the next call.
func (s *Sender) Send(ctx context.Context, messages []Message) Outcome {
	if err := s.connect(ctx); err != nil {
		return Outcome{Err: err}
	}
	conn := s.line.Conn()
	if conn == nil { // it has ended just now
		return Outcome{Err: redisconn.ErrLost}
	}
	s.queue = s.queue[:0]
	for i, m := range messages {
		if i == len(s.cmds) {
			s.cmds = append(s.cmds, newPublish())
		}
		s.queue = append(s.queue, s.cmds[i].with(m))
	}
	asked := s.role.asks()
	if asked {
		s.queue = append(s.queue, s.hello.again())
	}
	err := s.exec(ctx, conn)
	out := s.outcome(messages, err)
	out.HungUp = s.fresh && len(out.Replies) == 0 && redisconn.FailureOf(out.Err) == redisconn.HungUp
	s.fresh = false
	// If the last one was answered, nothing is on its way any more.
	last := s.cmds[len(messages)-1].cmd.Err()
	doubt := last != nil && !redisconn.IsReply(last)
	if !conn.Place().Cluster {
		out = s.heard(ctx, out, asked)
	} else {
		for i := range out.Replies { // it counts the subscribers of this node alone
			out.Replies[i].Receivers = max(out.Replies[i].Receivers, 1)
		}
	}
	if out.Err != nil {
		s.doubt, s.suspect = doubt, s.carrier
		s.Close()
	}
	return out
}

// exec sends what is queued in one round trip.
func (s *Sender) exec(ctx context.Context, conn *redisconn.Conn) error {
	if s.piped != conn {
		s.pipe, s.piped = conn.Client().Pipeline(), conn
	}
	return s.line.Use(ctx, func(*redisconn.Conn) error {
		_ = s.pipe.BatchProcess(ctx, s.queue...) // only queues them
		_, err := s.pipe.Exec(ctx)
		return err
	})
}

func (s *Sender) outcome(messages []Message, err error) Outcome {
	s.replies = s.replies[:0]
	for i := range messages {
		// After a broken connection go-redis marks every command with its
		// error, even those that were answered before it: the value says which.
		receivers, answered := s.cmds[i].cmd.Val().(int64)
		if answered {
			s.replies = append(s.replies, Reply{Receivers: receivers})
			continue
		}
		refused := s.cmds[i].cmd.Err()
		switch redisconn.FailureOf(refused) {
		case redisconn.Forbidden:
			s.replies = append(s.replies, Reply{Err: refused})
		case redisconn.Refused, redisconn.Misplaced:
			// Because of the server's state, not of this message: those after it
			// may have met another state. All of them are sent again, in order.
			return Outcome{Replies: s.replies, Unknown: i+1 < len(messages), Err: refused}
		default:
			return Outcome{Replies: s.replies, Unknown: true, Err: err}
		}
	}
	return Outcome{Replies: s.replies}
}

// connect makes a connection unless there is one that can be used, and makes sure that
// nothing which the previous one carried is executed from now on.
func (s *Sender) connect(ctx context.Context) error {
	if s.usable(ctx) {
		return nil
	}
	conn, err := s.line.Connect(ctx, redisconn.AnyKey)
	if err != nil {
		return err
	}
	s.role = roleAt(conn.Place())
	if err = s.role.replica; err == nil {
		s.carrier, err = s.carrierOf(ctx, conn.Place())
	}
	if err == nil && s.doubt {
		err = s.fence(ctx)
	}
	if err != nil {
		s.Close()
		return &redisconn.ConnectError{Err: err}
	}
	s.doubt, s.fresh = false, true
	return nil
}

// usable says whether the connection can be used. Servers and firewalls close
// idle ones; to find that out with a message would leave the message in doubt.
func (s *Sender) usable(ctx context.Context) bool {
	if s.line.Conn() == nil {
		return false
	}
	if s.line.Idle() < s.idle {
		return true
	}
	err := s.ask(ctx)
	if err != nil {
		s.Close()
	}
	return err == nil
}

// carrier names a connection so that another one can kill it. Either part may be
// missing.
type carrier struct {
	runID  string // of the server
	number int64  // that the server gave to the connection
}

// carrierOf names a connection by what is known of it. A server without HELLO is asked
// for the number.
func (s *Sender) carrierOf(ctx context.Context, p redisconn.Place) (carrier, error) {
	c := carrier{p.RunID, p.Client}
	if c.number != 0 || c.runID == "" {
		return c, nil
	}
	cmd := redis.NewIntCmd(ctx, "client", "id")
	err := s.line.Use(ctx, func(c *redisconn.Conn) error { return c.Client().Process(ctx, redisconn.NoRetry(cmd)) })
	if redisconn.IsReply(err) {
		err = nil
	}
	c.number = cmd.Val()
	return c, err
}

// fence kills the suspect, if the server that it was connected to still runs. Another
// server has its own subscribers: what the suspect still executes, they do not get, and
// whoever comes from there to here begins with a Resync. Only between the nodes of a
// cluster that is not so: a node that stood, and goes on after another one has taken
// its place, may still hand to all of them what it had not executed.
func (s *Sender) fence(ctx context.Context) error {
	if s.suspect.runID == "" || s.suspect.number == 0 || s.carrier.runID == "" {
		s.unfenced = true
		return nil
	}
	if s.suspect.runID != s.carrier.runID {
		return nil
	}
	err := s.line.Use(ctx, func(c *redisconn.Conn) error {
		return c.Client().Do(ctx, "client", "kill", "id", s.suspect.number).Err()
	})
	if redisconn.IsReply(err, "NOPERM", "ERR ") {
		s.unfenced, err = true, nil
	}
	return err
}

// publish is a PUBLISH that is used again and again, and that go-redis never
// repeats by itself: it would not stop the first try.
type publish struct {
	cmd     *redis.Cmd // its value is nil until it was answered; an IntCmd's would be 0 if the answer could not be read
	once    redis.Cmder
	channel redisconn.Bytes
	payload redisconn.Bytes
}

func newPublish() *publish {
	p := new(publish)
	p.cmd = redis.NewCmd(context.Background(), "publish", &p.channel, &p.payload)
	p.once = redisconn.NoRetry(p.cmd)
	return p
}

// with returns the command for a message.
func (p *publish) with(m Message) redis.Cmder {
	p.channel, p.payload = m.Channel, m.Payload
	p.cmd.SetVal(nil)
	p.cmd.SetErr(nil)
	return p.once
}
