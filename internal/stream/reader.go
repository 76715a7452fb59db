package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn"
	"github.com/tracbus/tracbus/internal/redisconn/guard"
)

// reader reads one stream over a connection of its own, so that a read which waits
// blocks nobody else. It is not for concurrent use.
type reader struct {
	conn   *redisconn.Conn
	key    string
	asking bool // each command needs an ASKING before it
}

// newReader connects to the server that has the key, or to the node of a cluster to
// which that has sent a reader. The reader lasts until ctx ends or it is closed.
func newReader(ctx context.Context, router *redisconn.Router, config Config, to *redisconn.Redirection) (*reader, error) {
	s := redisconn.Settings{
		Database: true, Silence: config.PingAfter, Answer: config.MaxAnswer, Head: len(config.Key) + 256,
	}
	if to == nil {
		conn, err := router.Connect(ctx, config.Key, s)
		return &reader{conn: conn, key: config.Key}, err
	}
	conn, err := router.ConnectTo(ctx, to.Addr, s)
	return &reader{conn: conn, key: config.Key, asking: to.Asking}, err
}

// close ends the reader.
func (r *reader) close() { r.conn.Close() }

// read returns up to count entries with ids above after. If there are none, it
// waits for one as long as block says. Zero means that it does not wait. A key
// that does not exist is a stream without entries.
func (r *reader) read(after ID, count int64, block time.Duration) ([]redis.XMessage, error) {
	if block == 0 {
		block = -1 // to Redis, zero means for ever
	}
	r.conn.Waits(block)
	defer r.conn.Waits(0)
	var read *redis.XStreamSliceCmd
	err := r.do(func(p redis.Pipeliner) {
		read = p.XRead(r.conn.Context(), &redis.XReadArgs{Streams: []string{r.key, after.String()}, Count: count, Block: block})
	})
	switch streams := read.Val(); {
	case errors.Is(err, redis.Nil) || err == nil && len(streams) == 0:
		return nil, nil
	case err != nil:
		return nil, r.tooLarge(err, count, r.key, 3)
	default:
		return streams[0].Messages, nil
	}
}

// last returns the highest id that the stream ever had, even if that entry is
// gone; "0-0" if there is no such key.
func (r *reader) last() (string, error) {
	var info *redis.Cmd
	err := r.do(func(p redis.Pipeliner) { info = p.Do(r.conn.Context(), "xinfo", "stream", r.key) })
	switch {
	case redis.HasErrorPrefix(err, "no such key"):
		return "0-0", nil
	case err != nil:
		return "", r.tooLarge(err, 0, "last-generated-id", 1)
	}
	if id, ok := redisconn.Pairs(info.Val())["last-generated-id"].(string); ok {
		return id, nil
	}
	// Some servers that speak Redis's protocol leave it out.
	var entries *redis.XMessageSliceCmd
	err = r.do(func(p redis.Pipeliner) { entries = p.XRevRangeN(r.conn.Context(), r.key, "+", "-", 1) })
	switch {
	case err != nil:
		return "", err
	case len(entries.Val()) == 0:
		return "0-0", nil
	}
	return entries.Val()[0].ID, nil
}

// do sends a command, and returns its error.
func (r *reader) do(queue func(redis.Pipeliner)) error {
	pipe := r.conn.Client().Pipeline()
	if r.asking {
		pipe.Do(r.conn.Context(), "asking")
	}
	queue(pipe)
	cmds, err := pipe.Exec(r.conn.Context())
	if err == nil || errors.Is(err, redis.Nil) {
		return err
	}
	if last := cmds[len(cmds)-1].Err(); redisconn.IsReply(last) {
		return last
	}
	if err = r.conn.Why(err); err == nil {
		err = fmt.Errorf("no answer: %w", redisconn.ErrLost)
	}
	return err
}

// A TooLargeError says that an answer with entries was larger than a reader takes. The
// connection is lost.
type TooLargeError struct {
	Key   string
	Count int64  // of entries that were asked for; 0 if for the ends of the stream
	ID    string // of the first of them, or the last id of the stream
	Err   error  // the [guard.Violation]
}

// Error says which entry it is, if it is one.
func (e *TooLargeError) Error() string {
	switch {
	case e.Count > 1:
		return fmt.Sprintf("%d entries: %v", e.Count, e.Err)
	case e.Count == 0:
		return fmt.Sprintf("the stream's first or last entry, or both together: %v; XDEL of an entry that is too large makes it go on", e.Err)
	}
	return fmt.Sprintf("entry %s: %v; whoever begins after %s goes on without it, and so does XDEL %s %s", e.ID, e.Err, e.ID, e.Key, e.ID)
}

// Unwrap returns the cause.
func (e *TooLargeError) Unwrap() error { return e.Err }

// tooLarge returns a [TooLargeError] if err is that an answer with entries was too
// large. An id is in a line of its beginning, so many after the line with a word; an
// answer without it has no entries.
func (r *reader) tooLarge(err error, count int64, word string, lines int) error {
	if fault, ok := errors.AsType[*guard.Violation](err); !ok || !fault.Large {
		return err
	}
	_, rest, _ := bytes.Cut(r.conn.Head(), []byte(word+"\r\n"))
	parts := bytes.SplitN(rest, []byte("\r\n"), lines+2)
	if len(parts) < lines+2 {
		return err
	}
	return &TooLargeError{Key: r.key, Count: count, ID: string(parts[lines]), Err: err}
}
