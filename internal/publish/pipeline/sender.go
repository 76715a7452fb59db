// Package pipeline publishes messages in order over a connection that may break
// at any byte. Its one secret is how to send again what was not answered, without
// the first try arriving after the second.
package pipeline

import (
	"context"
	"fmt"
	"strings"
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

// Sender publishes over one connection of a client at a time. It is not for
// concurrent use.
type Sender struct {
	client   redis.UniversalClient
	conn     *redis.Conn
	self     identity // of conn
	fresh    bool     // conn has answered, and carried no message yet
	used     time.Time
	idle     time.Duration // after which conn may have been closed
	doubt    bool          // the previous connection may still execute commands
	suspect  identity      // of that connection
	unfenced bool
	cmds     []*publish
	replies  []Reply
}

// identity names a connection for as long as its server runs; a restarted
// server counts its connections from 1 again.
type identity struct {
	server string
	client int64
}

// New returns a sender over a borrowed client, which it never closes.
func New(client redis.UniversalClient) *Sender { return &Sender{client: client, idle: time.Second} }

// Unfenced says that a connection was broken and could not be killed, because
// the Redis user may not look it up or kill it: a message that is sent again
// can also arrive late.
func (s *Sender) Unfenced() bool { return s.unfenced }

// Close gives the connection back to the client's pool.
func (s *Sender) Close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn, s.self = nil, identity{}
	}
}

// Send publishes messages in one round trip. The outcome is valid until the
// next call.
func (s *Sender) Send(ctx context.Context, messages []Message) Outcome {
	if err := s.connect(ctx); err != nil {
		return Outcome{Err: err}
	}
	pipe := s.conn.Pipeline()
	for i, m := range messages {
		if i == len(s.cmds) {
			s.cmds = append(s.cmds, newPublish())
		}
		_ = pipe.Process(ctx, s.cmds[i].with(m)) // only queues it
	}
	_, err := pipe.Exec(ctx)
	out := s.outcome(messages, err)
	out.HungUp = s.fresh && len(out.Replies) == 0 && redisconn.FailureOf(out.Err) == redisconn.HungUp
	s.used, s.fresh = time.Now(), false
	if out.Err != nil {
		// If the last one was answered, nothing is on its way any more.
		last := s.cmds[len(messages)-1].cmd.Err()
		s.doubt, s.suspect = last != nil && !redisconn.IsReply(last), s.self
		s.Close()
	}
	return out
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

// connect takes a connection from the pool, and makes sure that nothing which
// the previous one carried is executed from now on.
func (s *Sender) connect(ctx context.Context) error {
	if s.conn != nil && s.usable(ctx) {
		return nil
	}
	node, err := redisconn.Master(ctx, s.client, anyKey)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	conn := node.Conn()
	self, err := identify(ctx, conn)
	if err == nil && s.doubt {
		err = s.fence(ctx, conn, self)
	}
	if err != nil {
		_ = conn.Close()
		return fmt.Errorf("connect: %w", err)
	}
	s.conn, s.self, s.fresh, s.doubt = conn, self, true, false
	return nil
}

// usable says whether the connection can be used. Servers and firewalls close
// idle ones; to find that out with a message would leave the message in doubt.
func (s *Sender) usable(ctx context.Context) bool {
	if time.Since(s.used) < s.idle {
		return true
	}
	self, err := identify(ctx, s.conn)
	if err != nil || self != s.self {
		s.Close()
		return false
	}
	return true
}

// fence kills the suspect, if the server that it was connected to still runs.
func (s *Sender) fence(ctx context.Context, conn *redis.Conn, self identity) error {
	if s.suspect.server == "" || self.server == "" {
		s.unfenced = true
		return nil
	}
	if s.suspect.server != self.server {
		return nil
	}
	err := conn.Do(ctx, "client", "kill", "id", s.suspect.client).Err()
	if redisconn.IsReply(err, "NOPERM", "ERR ") {
		s.unfenced, err = true, nil
	}
	return err
}

// anyKey chooses a server of a cluster. It hands every message to all of its
// servers, so that any one will do; always the same one keeps the order.
const anyKey = "tracbus"

// identify asks for the connection's number and the server's run id, in one
// round trip. The identity is empty for a user without the right to ask, and on
// a server without the commands.
func identify(ctx context.Context, conn *redis.Conn) (identity, error) {
	pipe := conn.Pipeline()
	number := redis.NewIntCmd(ctx, "client", "id")
	_ = pipe.Process(ctx, redisconn.NoRetry(number)) // only queues it
	info := pipe.Info(ctx, "server")
	if _, err := pipe.Exec(ctx); redisconn.IsReply(err, "NOPERM", "ERR ") {
		return identity{}, nil
	} else if err != nil {
		return identity{}, err
	}
	_, rest, found := strings.Cut(info.Val(), "run_id:")
	if !found {
		return identity{}, nil
	}
	run, _, _ := strings.Cut(rest, "\r")
	return identity{run, number.Val()}, nil
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
