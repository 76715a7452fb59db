package fault_test

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// wire is a connection to a server as a driver has it, and what networks do to one.
// A fault begins between two statements, when nobody reads.
type wire struct {
	*net.TCPConn

	mu      sync.Mutex
	state   state
	hole    net.Conn  // what is read in a black hole: nothing, ever
	until   time.Time // the deadline that the driver has set last
	silent  bool      // the server hears that the driver gives up
	written func()    // called after the next write
}

type state uint8

const (
	open  state = iota
	dead        // writes are taken, and answered by a reset
	holed       // writes are taken, and never answered
)

// Write implements net.Conn.
func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	s, written := w.state, w.written
	w.written = nil
	w.mu.Unlock()
	if s != open {
		return len(b), nil
	}
	n, err := w.TCPConn.Write(b)
	if written != nil {
		written()
	}
	return n, err
}

// Read implements net.Conn. pgx may be reading already when a black hole begins.
func (w *wire) Read(b []byte) (int, error) {
	if s, _ := w.now(); s == open {
		n, err := w.TCPConn.Read(b)
		if s, _ := w.now(); s == open || err != nil {
			return n, err
		}
	}
	s, hole := w.now()
	if s == dead {
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	n, err := hole.Read(b)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.silent { // the driver has given up, though pgx drains what may still come
		_ = w.TCPConn.Close()
	}
	return n, err
}

func (w *wire) now() (state, net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state, w.hole
}

// SetDeadline implements net.Conn.
func (w *wire) SetDeadline(t time.Time) error { return w.keep(t, w.TCPConn.SetDeadline) }

// SetReadDeadline implements net.Conn.
func (w *wire) SetReadDeadline(t time.Time) error { return w.keep(t, w.TCPConn.SetReadDeadline) }

func (w *wire) keep(t time.Time, set func(time.Time) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until = t
	if w.hole != nil {
		_ = w.hole.SetDeadline(t)
	}
	return set(t)
}

// Close implements net.Conn. The server does not hear it from within a black hole.
func (w *wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hole == nil {
		return w.TCPConn.Close()
	}
	_ = w.hole.Close()
	if w.silent {
		return w.TCPConn.Close()
	}
	return w.TCPConn.SetReadDeadline(time.Unix(1, 0)) // for whoever reads already
}

// reset ends the connection for both ends; the driver notices it when it reads.
func (w *wire) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = dead
	_ = w.TCPConn.SetLinger(0)
	_ = w.TCPConn.Close()
}

// swallow makes a black hole of the connection: neither end hears of the other any
// more. fill lets the server learn of it.
func (w *wire) swallow() {
	w.mu.Lock()
	defer w.mu.Unlock()
	here, _ := net.Pipe()
	_ = here.SetDeadline(w.until)
	w.state, w.hole = holed, here
}

// starve lets the driver wait for an answer that the server will never give.
func (w *wire) starve() {
	w.mu.Lock()
	w.silent = true
	swallows := w.hole != nil
	w.mu.Unlock()
	if !swallows {
		w.swallow()
	}
}

// fill ends a black hole for the server, as its keepalive does, and for a driver
// that still waits.
func (w *wire) fill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hole != nil {
		_ = w.hole.Close()
		_ = w.TCPConn.Close()
	}
}

// afterWrite has f called once the next request was sent.
func (w *wire) afterWrite(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written = f
}
