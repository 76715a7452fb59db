// Package script publishes messages, and appends them to a stream, if Redis is at
// the offset that the call expects. Redis keeps that offset, so that a call that is
// sent twice, late, or by a process that lost its lease changes nothing. The
// package's one secret is the Lua script publish.lua, which documents its KEYS,
// ARGV and reply.
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

	"github.com/tracbus/tracbus/internal/redisconn"
)

//go:embed publish.lua
var source string

// Call is what the script is given besides the messages.
type Call struct {
	State  string // key of the state
	Stream string // key of the stream, in one slot with State; "" for none

	Reset      bool // begin a new generation at From, if Redis is at Expected
	Expected   Offset
	Generation int64 // that the call is of

	From Place // that Redis must have reached
	To   Place // the last whole transaction when all is done

	Begins   Place // the transaction inside which the call begins; zero if none
	BeginsAt int   // seq up to which Begins must have been done
	Ends     Place // the transaction inside which the call ends; zero if none
	EndsAt   int   // seq of the last change of Ends in the call

	MaxLen int64         // of the stream, in entries, about
	MaxAge time.Duration // beyond which entries are trimmed; 0 means never
}

// Offset is how far Redis has come.
type Offset struct {
	Empty      bool // Redis has no state
	At         Place
	Generation int64  // of the state; -1 if it is empty
	LastEntry  string // the last id that the stream ever had; "" if there is no stream
}

// Reply is the script's answer. At most one of its first four fields is not zero,
// and says why the call did not do all. If none is, all of it is done.
type Reply struct {
	Mismatch        *Offset // nothing was done, because Redis is at this offset
	Rewound         *Offset // nothing was done, because Redis is inside the transaction At, which this history does not have
	OtherGeneration bool    // nothing was done, because Redis is in Generation
	Stopped         error   // Redis refused the message At, counted from 0; those before it are done

	Generation int64
	At         int

	Published, NoReceivers int // messages that were done in this call
}

// Sender calls the script, over a connection of its own. It is not for concurrent use.
type Sender struct {
	way   way
	sha   any // a string
	args  []any
	bytes []redisconn.Bytes
}

// New returns a sender with the settings of a borrowed client, and with a connection of
// its own.
func New(client redis.UniversalClient) *Sender {
	return &Sender{way: newWay(client), sha: redis.NewScript(source).Hash()}
}

// Close ends the connection. The next call makes another one.
func (s *Sender) Close() { s.way.close() }

// Unwatched is [redisconn.Conn.Unwatched] of the connection.
func (s *Sender) Unwatched() error { return s.way.main.Unwatched() }

// Send calls the script once, wherever in a cluster the state is now. A Redis that does
// not know the script gets it in a second round trip. An error means that Redis did not
// answer, so that all or nothing may be done, or that it refused the call and published
// no message.
//
// It returns when ctx ends or by the client's timeouts, whichever is earlier.
func (s *Sender) Send(ctx context.Context, c Call, b *Batch) (Reply, error) {
	s.prepare(c, b)
	var answer any
	err := s.way.call(ctx, c.State, func(send do) (err error) {
		answer, err = s.run(send)
		return err
	})
	clear(s.bytes) // they hold the batch
	if err != nil {
		return Reply{}, err
	}
	r, err := read(answer)
	if s.way.cluster { // it counts the subscribers of one node alone
		r.NoReceivers = 0
	}
	return r, err
}

// run has Redis run the script with the arguments that are prepared. One that does
// not know the script is given its text by EVAL; where EVAL is renamed or forbidden,
// by SCRIPT LOAD.
func (s *Sender) run(send do) (answer any, err error) {
	s.args[0], s.args[1] = "evalsha", s.sha
	answer, err = send(s.args)
	switch {
	case withheld(err, "evalsha"):
		return nil, refused{err, "EVALSHA"}
	case !redisconn.IsReply(err, "NOSCRIPT"):
		return answer, err
	}
	s.args[0], s.args[1] = "eval", source
	answer, err = send(s.args)
	if !withheld(err, "eval") {
		return answer, err
	}
	if _, err = send([]any{"script", "load", source}); err != nil {
		if withheld(err, "script") {
			err = refused{err, "EVAL or SCRIPT LOAD, besides EVALSHA"}
		}
		return nil, err
	}
	s.args[0], s.args[1] = "evalsha", s.sha
	return send(s.args)
}

// withheld says whether an answer is that a command is renamed, or is not among the
// user's rights. A NOPERM about a key or a channel is no such answer.
func withheld(err error, command string) bool {
	if !redisconn.IsReply(err) {
		return false
	}
	text := strings.ToLower(err.Error())
	return strings.HasPrefix(text, "err unknown command") ||
		strings.HasPrefix(text, "err unknown subcommand") ||
		strings.HasPrefix(text, "noperm") && strings.Contains(text, "'"+command)
}

// refused is the answer of a Redis that lacks a command, and says what is needed. It
// leaves out the arguments that the answer repeats: the script's text is among them.
type refused struct {
	answer error
	needed string
}

// Error has Redis's answer first.
func (e refused) Error() string {
	text, _, _ := strings.Cut(e.answer.Error(), ", with ")
	return text + ": expected " + e.needed + ", neither renamed nor forbidden"
}

// Unwrap returns Redis's answer.
func (e refused) Unwrap() error { return e.answer }

// prepare makes the command's arguments.
func (s *Sender) prepare(c Call, b *Batch) {
	a := append(s.args[:0], "", "", "1", c.State)
	if c.Stream != "" {
		a[2] = "2"
		a = append(a, c.Stream)
	}
	reset, tid := "0", ""
	if c.Reset {
		reset = "1"
		if !c.Expected.Empty {
			tid = strconv.FormatInt(c.Expected.At.TID, 10)
		}
	}
	a = append(a, reset, tid, c.Expected.At.CommitID, c.Expected.Generation, c.Generation,
		c.From.TID, c.From.CommitID, c.To.TID, c.To.CommitID)
	if c.Ends != (Place{}) {
		a = append(a, c.Ends.TID, c.Ends.CommitID, c.EndsAt)
	} else {
		a = append(a, "", "", "")
	}
	if c.Begins != (Place{}) {
		a = append(a, c.Begins.CommitID, c.BeginsAt)
	} else {
		a = append(a, "", "")
	}
	a = append(a, c.MaxLen, c.MaxAge.Milliseconds(), b.messages)
	if len(s.bytes) < len(b.ends) {
		s.bytes = make([]redisconn.Bytes, len(b.ends)+len(b.ends)/4)
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

// An UnreadableError says that Redis answered, but not what the script does: most
// likely somebody else wrote to the state. Nothing was done.
type UnreadableError struct{ Err error }

// Error implements error.
func (e *UnreadableError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UnreadableError) Unwrap() error { return e.Err }

// read takes the script's reply apart.
func read(answer any) (r Reply, err error) {
	a, _ := answer.([]any)
	word, _ := first(a).(string)
	switch {
	case word == "done" && len(a) == 3:
		r.Published, r.NoReceivers = number(a[1]), number(a[2])
	case word == "stopped" && len(a) == 5:
		r.Stopped, r.At = errors.New(str(a[1])), number(a[2])-1
		r.Published, r.NoReceivers = number(a[3]), number(a[4])
	case word == "elsewhere" && len(a) == 5:
		r.Mismatch, err = offset(a)
	case word == "rewound" && len(a) == 5:
		r.Rewound, err = offset(a)
	case word == "branch" && len(a) == 2:
		r.OtherGeneration = true
		r.Generation, err = strconv.ParseInt(str(a[1]), 10, 64)
	default:
		return r, &UnreadableError{fmt.Errorf("answer of the script: got %.200q, expected one of its words", fmt.Sprint(answer))}
	}
	if err != nil {
		return Reply{}, &UnreadableError{fmt.Errorf("state in Redis: got %.200q, expected numbers for tid and generation: %w", fmt.Sprint(a), err)}
	}
	return r, nil
}

// offset reads the word, tid, commit id, generation and last id of a reply.
func offset(a []any) (*Offset, error) {
	o := &Offset{Empty: str(a[1]) == "", At: Place{CommitID: str(a[2])}, Generation: -1, LastEntry: str(a[4])}
	if o.Empty {
		return o, nil
	}
	var err error
	if o.At.TID, err = strconv.ParseInt(str(a[1]), 10, 64); err == nil {
		o.Generation, err = strconv.ParseInt(str(a[3]), 10, 64)
	}
	return o, err
}

func first(a []any) any {
	if len(a) == 0 {
		return nil
	}
	return a[0]
}

func str(v any) string { s, _ := v.(string); return s }
func number(v any) int { n, _ := v.(int64); return int(n) }
