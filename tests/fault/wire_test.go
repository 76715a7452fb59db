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
	silent  bool      // only the server's answers are lost: it hears that the driver closes
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

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	w.mu.Lock()
	s, hole := w.state, w.hole
	w.mu.Unlock()
	switch s {
	case dead:
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	case holed:
		return hole.Read(b)
	}
	return w.TCPConn.Read(b)
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
		return w.hole.SetDeadline(t)
	}
	return set(t)
}

// Close implements net.Conn. The server does not hear it from within a black hole.
func (w *wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hole != nil && !w.silent {
		return w.hole.Close()
	} else if w.hole != nil {
		_ = w.hole.Close()
	}
	return w.TCPConn.Close()
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
	w.swallow()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = true
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
