package redisconn

import (
	"context"
	"time"
)

// A Line is the connection of one who sends commands and waits for their answers. It
// is made when there is something to send, and lasts until it breaks. It is not for
// concurrent use.
type Line struct {
	router   *Router
	settings Settings

	conn   *Conn // nil: there is none
	hangUp context.CancelFunc
	used   time.Time
}

// NewLine returns a line that is not connected.
func NewLine(router *Router, settings Settings) *Line {
	return &Line{router: router, settings: settings}
}

// Conn returns the connection, or nil.
func (l *Line) Conn() *Conn {
	if l.conn != nil && l.conn.Context().Err() != nil { // it was left, with nothing on its way
		l.Close()
	}
	return l.conn
}

// Unwatched is [Conn.Unwatched] of the connection, if there is one.
func (l *Line) Unwatched() error {
	if conn := l.Conn(); conn != nil {
		return conn.Unwatched()
	}
	return nil
}

// Idle returns for how long nothing was sent.
func (l *Line) Idle() time.Duration { return time.Since(l.used) }

// Connect makes the connection, to the server that has a key. It ends an earlier one.
func (l *Line) Connect(ctx context.Context, key string) (*Conn, error) {
	return l.open(ctx, func(life context.Context) (*Conn, error) { return l.router.Connect(life, key, l.settings) })
}

// ConnectTo does the same to the node of a cluster that a [Redirection] names.
func (l *Line) ConnectTo(ctx context.Context, addr string) (*Conn, error) {
	return l.open(ctx, func(life context.Context) (*Conn, error) { return l.router.ConnectTo(life, addr, l.settings) })
}

// open connects. The connection outlives ctx, the attempt does not.
func (l *Line) open(ctx context.Context, connect func(context.Context) (*Conn, error)) (*Conn, error) {
	l.Close()
	life, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, hangUp)
	conn, err := connect(life)
	if !stop() { // it has ended meanwhile
		if err == nil {
			conn.Close()
		}
		err = ctx.Err()
	}
	if err != nil {
		hangUp()
		return nil, &ConnectError{err}
	}
	l.conn, l.hangUp, l.used = conn, hangUp, time.Now()
	return conn, nil
}

// A ConnectError says why there is no connection: nothing was sent, whatever the error
// is.
type ConnectError struct{ Err error }

// Error implements error.
func (e *ConnectError) Error() string { return "connect: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ConnectError) Unwrap() error { return e.Err }

// Use sends commands by do and waits for their answers. If ctx ends before, the
// connection does. The error says why, also if the connection was left.
func (l *Line) Use(ctx context.Context, do func(*Conn) error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case l.Conn() == nil:
		return ErrLost
	}
	stop := func() bool { return true }
	if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, l.hangUp)
	}
	err := do(l.conn)
	l.used = time.Now()
	if !stop() && err != nil && !IsReply(err) {
		return ctx.Err()
	}
	return l.conn.Why(err)
}

// Close ends the connection, if there is one.
func (l *Line) Close() {
	if l.conn != nil {
		l.hangUp()
		l.conn.Close()
		l.conn = nil
	}
}
