package pgxbus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// line is the one connection that listens for all ears, until it fails or has none.
type line struct {
	waker  *Waker
	cancel context.CancelFunc
	over   chan struct{} // closed when run has returned

	mu        sync.Mutex // guards what follows, and the ears; the waker's is taken before it
	ears      map[*ear]bool
	interrupt func() // ends the wait for what comes, because an ear has come
	err       error  // why it has failed
}

// ear is a call of Hear.
type ear struct {
	channel string
	ready   chan struct{} // holds a token when there is something to take
	texts   []string      // that have come, each once
	listens bool
}

func (l *line) add(e *ear) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ears[e] = true
	l.interrupt()
}

// remove says whether the ear was the last one.
func (l *line) remove(e *ear) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ears, e)
	return len(l.ears) == 0
}

// take returns what has come for an ear, and why nothing comes any more.
func (l *line) take(e *ear) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	texts := e.texts
	e.texts = nil
	return texts, l.err
}

// deliver hands a text to all who listen on its channel. The caller holds mu.
func (l *line) deliver(channel, text string) {
	for e := range l.ears {
		if e.listens && e.channel == channel {
			e.hears(text)
		}
	}
}

func (e *ear) hears(text string) {
	if !slices.Contains(e.texts, text) {
		e.texts = append(e.texts, text)
	}
	e.wake()
}

func (e *ear) wake() {
	select {
	case e.ready <- struct{}{}:
	default:
	}
}

// run listens until ctx ends or the connection fails.
func (l *line) run(ctx context.Context) {
	defer close(l.over)
	err := l.listen(ctx)
	l.waker.forget(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	for e := range l.ears {
		e.wake()
	}
}

func (l *line) listen(ctx context.Context) error {
	conn, err := within(ctx, l.waker.within, l.waker.connect)
	if err != nil {
		return fmt.Errorf("connect to listen: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if err := l.prove(ctx, conn); err != nil {
		return err
	}
	for {
		if err := l.listenForAll(ctx, conn); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		if err := l.wait(ctx, conn); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
}

// prove sends a text the way that others will send theirs, and waits for it. PgBouncer accepts
// LISTEN, and gives the connection of the server that listens to another client.
func (l *line) prove(ctx context.Context, conn *pgx.Conn) error {
	channel := "tracbus:proof:" + rand.Text()
	if err := l.exec(ctx, conn, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	_, err := within(ctx, l.waker.within, func(ctx context.Context) (none struct{}, _ error) {
		return none, l.waker.send(ctx, channel, "")
	})
	if err != nil {
		return fmt.Errorf("send what is to be heard: %w", err)
	}
	proving, cancel := context.WithTimeout(ctx, l.waker.within)
	defer cancel()
	switch _, err := conn.WaitForNotification(proving); { // of this channel: there is no other yet
	case ctx.Err() != nil:
		return ctx.Err()
	case proving.Err() != nil:
		return ErrUnheard
	case err != nil:
		return fmt.Errorf("listen: %w", err)
	}
	return l.exec(ctx, conn, "UNLISTEN "+pgx.Identifier{channel}.Sanitize())
}

// listenForAll listens on the channels of the ears that have come.
func (l *line) listenForAll(ctx context.Context, conn *pgx.Conn) error {
	for {
		e := l.fresh()
		if e == nil {
			return nil
		}
		if err := l.exec(ctx, conn, "LISTEN "+pgx.Identifier{e.channel}.Sanitize()); err != nil {
			return err
		}
		l.mu.Lock()
		e.listens = true
		e.hears("")
		l.mu.Unlock()
	}
}

// fresh returns an ear that does not listen yet.
func (l *line) fresh() *ear {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := range l.ears {
		if !e.listens {
			return e
		}
	}
	return nil
}

// wait delivers one text; or it returns when an ear has come, or after a time in which the server
// has said that it is there.
func (l *line) wait(ctx context.Context, conn *pgx.Conn) error {
	waiting, cancel := context.WithTimeout(ctx, l.waker.within)
	defer cancel()
	l.mu.Lock()
	l.interrupt = cancel
	l.mu.Unlock()
	if l.fresh() != nil { // it came before it could interrupt
		return nil
	}
	n, err := conn.WaitForNotification(waiting) // which a context that ends leaves whole
	if n != nil {
		l.mu.Lock()
		l.deliver(n.Channel, n.Payload)
		l.mu.Unlock()
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case conn.IsClosed() || waiting.Err() == nil:
		return err
	case errors.Is(waiting.Err(), context.DeadlineExceeded):
		return l.exec(ctx, conn, "SELECT 1")
	}
	return nil
}

func (l *line) exec(ctx context.Context, conn *pgx.Conn, statement string) error {
	_, err := within(ctx, l.waker.within, func(ctx context.Context) (none struct{}, _ error) {
		_, err := conn.Exec(ctx, statement)
		return none, err
	})
	return err
}

// within bounds how long an answer is waited for.
func within[T any](ctx context.Context, most time.Duration, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return ask(ctx)
}
