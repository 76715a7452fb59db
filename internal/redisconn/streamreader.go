package redisconn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// StreamReader reads one stream over a connection of its own, so that a read
// which waits blocks nobody else. A StreamReader is not for concurrent use.
type StreamReader struct {
	conn   *Conn
	key    string
	asking bool // each command needs an ASKING before it
}

// NewStreamReader connects to the server that has the key, or to the node of a
// cluster to which that has sent a reader. The reader lasts until ctx ends or it is
// closed. silence is how long Redis may take to answer, beyond the time for which a
// read asks it to wait.
func NewStreamReader(ctx context.Context, router *Router, key string, to *Redirection, silence time.Duration) (*StreamReader, error) {
	s := Settings{Database: true, Silence: silence}
	if to == nil {
		conn, err := router.Connect(ctx, key, s)
		return &StreamReader{conn: conn, key: key}, err
	}
	conn, err := router.ConnectTo(ctx, to.Addr, s)
	return &StreamReader{conn: conn, key: key, asking: to.Asking}, err
}

// Place says where the reader is connected to.
func (r *StreamReader) Place() Place { return r.conn.Place() }

// Unwatched is [Conn.Unwatched] of the reader's connection.
func (r *StreamReader) Unwatched() error { return r.conn.Unwatched() }

// Close ends the reader.
func (r *StreamReader) Close() { r.conn.Close() }

// Read returns up to count entries with ids above after. If there are none, it
// waits for one as long as block says. Zero means that it does not wait. A key
// that does not exist is a stream without entries.
func (r *StreamReader) Read(after string, count int64, block time.Duration) ([]redis.XMessage, error) {
	if block == 0 {
		block = -1 // to Redis, zero means for ever
	}
	r.conn.wire.block.Store(int64(max(block, 0)))
	defer r.conn.wire.block.Store(0)
	var read *redis.XStreamSliceCmd
	err := r.do(func(p redis.Pipeliner) {
		read = p.XRead(r.conn.ctx, &redis.XReadArgs{Streams: []string{r.key, after}, Count: count, Block: block})
	})
	switch streams := read.Val(); {
	case errors.Is(err, redis.Nil) || err == nil && len(streams) == 0:
		return nil, nil
	case err != nil:
		return nil, err
	default:
		return streams[0].Messages, nil
	}
}

// Last returns the highest id that the stream ever had, even if that entry is
// gone; "0-0" if there is no such key.
func (r *StreamReader) Last() (string, error) {
	var info *redis.Cmd
	err := r.do(func(p redis.Pipeliner) { info = p.Do(r.conn.ctx, "xinfo", "stream", r.key) })
	switch {
	case redis.HasErrorPrefix(err, "no such key"):
		return "0-0", nil
	case err != nil:
		return "", err
	}
	if id, ok := pairs(info.Val())["last-generated-id"].(string); ok {
		return id, nil
	}
	// Some servers that speak Redis's protocol leave it out.
	var entries *redis.XMessageSliceCmd
	err = r.do(func(p redis.Pipeliner) { entries = p.XRevRangeN(r.conn.ctx, r.key, "+", "-", 1) })
	switch {
	case err != nil:
		return "", err
	case len(entries.Val()) == 0:
		return "0-0", nil
	}
	return entries.Val()[0].ID, nil
}

// do sends a command, and returns its error.
func (r *StreamReader) do(queue func(redis.Pipeliner)) error {
	pipe := r.conn.client.Pipeline()
	if r.asking {
		pipe.Do(r.conn.ctx, "asking")
	}
	queue(pipe)
	cmds, err := pipe.Exec(r.conn.ctx)
	if err == nil || errors.Is(err, redis.Nil) {
		return err
	}
	if last := cmds[len(cmds)-1].Err(); IsReply(last) {
		return last
	}
	if err = r.conn.Why(err); err == nil {
		err = fmt.Errorf("no answer: %w", ErrLost)
	}
	return err
}
