package redisconn

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

const (
	// inexact is how late Redis may end a read that waits, because it looks at its
	// clock ten times a second.
	inexact = 250 * time.Millisecond

	// slowest is how many bytes of an answer have to come in a second, on average:
	// less is no network.
	slowest = 1 << 10
)

// wire is the connection itself, which is handed to go-redis once.
//
// If it has a silence, it has its own idea of how long an answer may take, and
// ignores deadlines for a whole answer, because an answer may be large and the
// network slow: nothing for as long as the silence ends it, and so does less than
// slowest bytes a second after that.
type wire struct {
	net.Conn
	given atomic.Bool
	got   atomic.Int64 // bytes since asked was called

	silence time.Duration
	block   atomic.Int64 // for how many nanoseconds Redis is asked to wait
	since   time.Time    // when the last command was sent
	last    time.Time    // when the last bytes came

	most int    // bytes of an answer
	head []byte // of the last answer, up to its capacity
}

// handOver is a [dialer] that gives the connection to a client, once.
func (w *wire) handOver(context.Context, string, string) (net.Conn, error) {
	if w.given.Swap(true) {
		return nil, ErrLost
	}
	return w, nil
}

// asked notes that an answer is due.
func (w *wire) asked() {
	w.since = time.Now()
	w.last = w.since
	w.got.Store(0)
	w.head = w.head[:0]
}

// Write sends a command, or a part of one.
func (w *wire) Write(b []byte) (int, error) {
	if w.silence > 0 {
		w.asked()
	}
	return w.Conn.Write(b)
}

// Read takes a part of an answer.
func (w *wire) Read(b []byte) (int, error) {
	if w.silence > 0 {
		if err := w.Conn.SetReadDeadline(w.due()); err != nil {
			return 0, err
		}
	}
	n, err := w.Conn.Read(b)
	w.got.Add(int64(n))
	if w.silence > 0 {
		w.last = time.Now()
		w.head = append(w.head, b[:min(n, cap(w.head)-len(w.head))]...)
	}
	return n, err
}

// due returns until when more of the answer has to come.
func (w *wire) due() time.Time {
	silence := max(w.silence, inexact)
	first := w.since.Add(time.Duration(w.block.Load()) + silence)
	next := w.last.Add(silence)
	if next.Before(first) {
		next = first
	}
	if whole := first.Add(inBytes(w.got.Load())); whole.Before(next) {
		return whole
	}
	return next
}

// inBytes returns how long the slowest network takes for n bytes.
func inBytes(n int64) time.Duration { return time.Duration(n) * (time.Second / slowest) }

// SetReadDeadline does nothing if the connection has its own idea.
func (w *wire) SetReadDeadline(t time.Time) error {
	if w.silence > 0 {
		return nil
	}
	return w.Conn.SetReadDeadline(t)
}

// SetDeadline sets that of writes, too.
func (w *wire) SetDeadline(t time.Time) error {
	if w.silence > 0 {
		return w.SetWriteDeadline(t)
	}
	return w.Conn.SetDeadline(t)
}
