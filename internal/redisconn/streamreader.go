package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// StreamReader reads one stream over a connection of its own, so that a read
// which waits blocks nobody else. The connection breaks as soon as the reader's
// context ends or Redis is silent for too long, and is never replaced. A
// StreamReader is not for concurrent use.
type StreamReader struct {
	ctx    context.Context
	hangUp context.CancelFunc
	client *redis.Client
	conn   *patientConn
	key    string
}

// NewStreamReader connects to the server that has the key, with the settings of
// a borrowed client. The reader lasts until ctx ends or it is closed. silence is
// how long Redis may take to answer, beyond the time for which a read asks it to
// wait.
func NewStreamReader(ctx context.Context, borrowed redis.UniversalClient, key string, silence time.Duration) (*StreamReader, error) {
	node, err := Master(ctx, borrowed, key)
	if err != nil {
		return nil, err
	}
	o := node.Options()
	// Dialled here, because a client would dial again in the background.
	dialling, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	conn, err := o.Dialer(dialling, o.Network, o.Addr)
	if err != nil {
		return nil, err
	}
	r := &StreamReader{conn: &patientConn{Conn: conn, silence: silence}, key: key}
	r.ctx, r.hangUp = context.WithCancel(ctx)
	context.AfterFunc(r.ctx, func() { _ = conn.Close() })
	own := single(o, r.handOver())
	own.DB, own.DialerRetries = o.DB, 1
	r.client = redis.NewClient(own)
	return r, nil
}

// handOver returns a dialer that gives the connection to the client, once.
func (r *StreamReader) handOver() dialer {
	var given atomic.Bool
	return func(context.Context, string, string) (net.Conn, error) {
		if given.Swap(true) {
			return nil, ErrLost
		}
		return r.conn, nil
	}
}

// Close ends the reader.
func (r *StreamReader) Close() {
	r.hangUp()
	_ = r.client.Close()
}

// Read returns up to count entries with ids above after. If there are none, it
// waits for one as long as block says. Zero means that it does not wait. A key
// that does not exist is a stream without entries.
func (r *StreamReader) Read(after string, count int64, block time.Duration) ([]redis.XMessage, error) {
	if block == 0 {
		block = -1 // to Redis, zero means for ever
	}
	r.conn.block.Store(int64(max(block, 0)))
	defer r.conn.block.Store(0)
	streams, err := r.client.XRead(r.ctx, &redis.XReadArgs{Streams: []string{r.key, after}, Count: count, Block: block}).Result()
	switch {
	case errors.Is(err, redis.Nil) || err == nil && len(streams) == 0:
		return nil, nil
	case err != nil:
		return nil, r.why(err)
	}
	return streams[0].Messages, nil
}

// Last returns the highest id that the stream ever had, even if that entry is
// gone; "0-0" if there is no such key.
func (r *StreamReader) Last() (string, error) {
	info, err := r.client.Do(r.ctx, "xinfo", "stream", r.key).Result()
	switch {
	case redis.HasErrorPrefix(err, "no such key"):
		return "0-0", nil
	case err != nil:
		return "", r.why(err)
	}
	const name = "last-generated-id"
	switch info := info.(type) {
	case map[any]any: // RESP3
		if id, ok := info[name].(string); ok {
			return id, nil
		}
	case []any:
		for i := 0; i+1 < len(info); i += 2 {
			if id, ok := info[i+1].(string); ok && info[i] == name {
				return id, nil
			}
		}
	}
	// Some servers that speak Redis's protocol leave it out.
	entries, err := r.client.XRevRangeN(r.ctx, r.key, "+", "-", 1).Result()
	switch {
	case err != nil:
		return "", r.why(err)
	case len(entries) == 0:
		return "0-0", nil
	}
	return entries[0].ID, nil
}

// why names the failure that a deadline means.
func (r *StreamReader) why(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer: %w", err)
	}
	return err
}

// inexact is how late Redis may end a read that waits, because it looks at its
// clock ten times a second.
const inexact = 250 * time.Millisecond

// patientConn is a connection on which a read ends if nothing came for too long.
// It ignores deadlines for a whole answer, because an answer may be large and
// the network slow.
type patientConn struct {
	net.Conn
	silence time.Duration
	block   atomic.Int64 // in how many nanoseconds the answer is due
}

func (c *patientConn) Read(b []byte) (int, error) {
	due := time.Now().Add(time.Duration(c.block.Load()) + max(c.silence, inexact))
	if err := c.Conn.SetReadDeadline(due); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// SetReadDeadline does nothing.
func (c *patientConn) SetReadDeadline(time.Time) error { return nil }

// SetDeadline sets that of writes.
func (c *patientConn) SetDeadline(t time.Time) error { return c.SetWriteDeadline(t) }
