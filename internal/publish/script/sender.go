// Package script publishes messages, and appends them to a stream, in a chain
// that Redis keeps: whatever is sent twice, late, or by a process that should
// not any more, changes nothing. Its one secret is the script publish.lua, which
// says what it takes and answers.
package script

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed publish.lua
var source string

// Call is what the script is told beside the messages.
type Call struct {
	State  string // key of the state
	Stream string // key of the stream, in one slot with State; "" for none

	Anew     bool // begin anew at Before, in Branch, if Redis stands at Expected
	Expected Standing
	Branch   int64 // that the ids of entries are of

	Before Place // where Redis must stand
	After  Place // the last whole transaction when all is done
	Within Place // the transaction within which the call ends; zero if none
	Seq    int   // of the last change of Within in the call

	Rest Place // the transaction within which the call begins; zero if none
	Done int   // up to where Rest must have been done

	Cap int64         // of the stream, in entries, about
	Age time.Duration // beyond which entries are trimmed; 0: never
}

// Standing is where Redis stands.
type Standing struct {
	Empty bool // Redis has no state
	Place
	Branch int64  // of the state
	Last   string // the last id that the stream ever had; "" if there is no stream
}

// Reply is the script's answer. The first of its fields that is not zero says
// what became of the call; if all are, all of it is done.
type Reply struct {
	Elsewhere *Standing // nothing was done: Redis stands there
	Rewound   *Standing // the same: it stands within that transaction, which the journal does not have
	Other     bool      // nothing was done, for the ids of entries are not of Branch
	Branch    int64
	Stopped   error // Redis refused the message At, counted from 0; those before it are done
	At        int

	Published, Unheard int // messages that were done in this call
}

// Sender calls the script. It is not for concurrent use.
type Sender struct {
	client redis.UniversalClient
	sha    string
	args   []any
	bytes  []bytesArg
}

// New returns a sender over a borrowed client, which it never closes.
func New(client redis.UniversalClient) *Sender {
	return &Sender{client: client, sha: redis.NewScript(source).Hash()}
}

// Send calls the script once; a Redis that does not know it gets it with a
// second round trip. An error means that Redis did not answer, so that all or
// nothing may be done, or that it refused the call, and handed on no message.
//
// It returns at the deadline of ctx or by the client's timeouts, whichever is
// earlier.
func (s *Sender) Send(ctx context.Context, c Call, b *Batch) (Reply, error) {
	s.prepare(c, b)
	s.args[0], s.args[1] = "evalsha", s.sha
	answer, err := s.do(ctx, c.State)
	if isReply(err, "NOSCRIPT") {
		s.args[0], s.args[1] = "eval", source
		answer, err = s.do(ctx, c.State)
	}
	clear(s.bytes) // they hold the batch
	if err != nil {
		return Reply{}, err
	}
	return read(answer)
}

// prepare makes the command's arguments.
func (s *Sender) prepare(c Call, b *Batch) {
	a := append(s.args[:0], "", "", "1", c.State)
	if c.Stream != "" {
		a[2] = "2"
		a = append(a, c.Stream)
	}
	anew, tid := "0", ""
	if c.Anew {
		anew = "1"
		if !c.Expected.Empty {
			tid = strconv.FormatInt(c.Expected.TID, 10)
		}
	}
	a = append(a, anew, tid, c.Expected.CommitID, c.Expected.Branch, c.Branch,
		c.Before.TID, c.Before.CommitID, c.After.TID, c.After.CommitID)
	if c.Within != (Place{}) {
		a = append(a, c.Within.TID, c.Within.CommitID, c.Seq)
	} else {
		a = append(a, "", "", "")
	}
	if c.Rest != (Place{}) {
		a = append(a, c.Rest.CommitID, c.Done)
	} else {
		a = append(a, "", "")
	}
	a = append(a, c.Cap, c.Age.Milliseconds(), b.messages)
	if len(s.bytes) < len(b.ends) {
		s.bytes = make([]bytesArg, len(b.ends)+len(b.ends)/4)
	}
	start := 0
	for i, end := range b.ends {
		s.bytes[i] = b.Buffer[start:end]
		a = append(a, &s.bytes[i])
		start = end
	}
	a = append(a, len(b.transactions))
	for i := range b.transactions {
		t := &b.transactions[i]
		a = append(a, t.place.TID, t.place.CommitID, t.messages)
	}
	s.args = a
}

// do sends the command once.
func (s *Sender) do(ctx context.Context, key string) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cmd := command{redis.NewCmd(ctx, s.args...)}
	var err error
	switch c := s.client.(type) {
	case *redis.Client:
		err = bounded(ctx, c).Process(ctx, cmd)
	case *redis.ClusterClient:
		if left, ok := timeLeft(ctx); !ok || c.Options().ReadTimeout > 0 && left > c.Options().ReadTimeout {
			err = c.Process(ctx, cmd)
			break
		}
		// Redirections are the cluster client's; whoever repeats finds the node.
		var node *redis.Client
		if node, err = c.MasterForKey(ctx, key); err == nil {
			if err = bounded(ctx, node).Process(ctx, cmd); isReply(err, "MOVED", "ASK") {
				c.ReloadState(ctx)
			}
		}
	default:
		err = fmt.Errorf("client of type %T: expected *redis.Client or *redis.ClusterClient", c)
	}
	return cmd.Val(), err
}

// bounded returns c, or a copy with less patience where ctx ends earlier than
// an answer may take: go-redis does not look at ctx while it waits for one. A
// copy has none of the caller's hooks, so that it is the exception.
func bounded(ctx context.Context, c *redis.Client) *redis.Client {
	left, ok := timeLeft(ctx)
	o := c.Options()
	if !ok || o.ReadTimeout > 0 && left >= o.ReadTimeout {
		return c
	}
	patience := left
	if o.ReadTimeout > 0 {
		patience = min(patience, o.ReadTimeout)
	}
	return c.WithTimeout(max(patience, time.Millisecond))
}

func timeLeft(ctx context.Context) (time.Duration, bool) {
	deadline, ok := ctx.Deadline()
	return time.Until(deadline), ok
}

// read takes the script's reply apart.
func read(answer any) (r Reply, err error) {
	a, _ := answer.([]any)
	word, _ := first(a).(string)
	switch {
	case word == "done" && len(a) == 3:
		r.Published, r.Unheard = number(a[1]), number(a[2])
	case word == "stopped" && len(a) == 5:
		r.Stopped, r.At = errors.New(str(a[1])), number(a[2])-1
		r.Published, r.Unheard = number(a[3]), number(a[4])
	case (word == "elsewhere" || word == "rewound") && len(a) == 5:
		s := Standing{Empty: str(a[1]) == "", Place: Place{CommitID: str(a[2])}, Branch: -1, Last: str(a[4])}
		if !s.Empty {
			if s.TID, err = strconv.ParseInt(str(a[1]), 10, 64); err == nil {
				s.Branch, err = strconv.ParseInt(str(a[3]), 10, 64)
			}
		}
		if r.Elsewhere = &s; word == "rewound" {
			r.Elsewhere, r.Rewound = nil, &s
		}
	case word == "branch" && len(a) == 2:
		r.Other = true
		r.Branch, err = strconv.ParseInt(str(a[1]), 10, 64)
	default:
		return r, fmt.Errorf("answer of the script: got %.200q, expected one of its words", fmt.Sprint(answer))
	}
	if err != nil {
		return Reply{}, fmt.Errorf("state in Redis: got %.200q, expected numbers for tid and branch: %w", fmt.Sprint(a), err)
	}
	return r, nil
}

func first(a []any) any {
	if len(a) == 0 {
		return nil
	}
	return a[0]
}

func str(v any) string { s, _ := v.(string); return s }
func number(v any) int { n, _ := v.(int64); return int(n) }

// isReply says whether err is Redis's answer, and begins with one of the words.
func isReply(err error, words ...string) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	for _, w := range words {
		if strings.HasPrefix(reply.Error(), w) {
			return true
		}
	}
	return false
}

// command is one that go-redis does not repeat by itself.
type command struct{ *redis.Cmd }

// NoRetry overrides go-redis's default.
func (command) NoRetry() bool { return true }

// bytesArg is an argument that needs no allocation: go-redis asks a pointer to
// it for its bytes.
type bytesArg []byte

// MarshalBinary implements encoding.BinaryMarshaler.
func (b *bytesArg) MarshalBinary() ([]byte, error) { return *b, nil }

// String makes hooks that trace commands print text.
func (b *bytesArg) String() string { return string(*b) }
