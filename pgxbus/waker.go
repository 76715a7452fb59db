package pgxbus

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrUnheard says that LISTEN was accepted, and what was sent then did not come. Either the
// connection that listens leads through a pooler of transactions, such as PgBouncer with
// pool_mode=transaction, or it leads to another database than those that send. It is an error that
// [Waker.Hear] yields, so the journal logs it and polls.
var ErrUnheard = errors.New("what was sent is not heard: the connection that listens needs the same database, and no pooler of transactions such as PgBouncer on the way")

// WakerConfig holds what most programs need not decide.
type WakerConfig struct {
	// PingAfter is how long nothing comes before the server is asked whether it is there, because a
	// connection may die in silence. No answer is waited for longer. Zero means 10 s.
	PingAfter time.Duration
}

// Waker is a [tracbus.Waker]: PostgreSQL's LISTEN and NOTIFY. One connection listens for all of a
// process, while somebody hears; each call of Hear that fails has the next one make another
// connection. What is sent is not part of the transaction of a change, because PostgreSQL has
// transactions that send commit one after the other. Its methods may be called concurrently. It
// needs no Close: nothing is left when the calls of Hear have returned.
type Waker struct {
	within  time.Duration // PingAfter
	connect func(ctx context.Context) (*pgx.Conn, error)
	send    func(ctx context.Context, channel, text string) error

	calling sync.Mutex
	rest    time.Time // before which nothing is sent

	mu   sync.Mutex
	line *line // to the server; nil: nobody hears
}

// NewWaker is [WakerConfig.NewWaker] with the defaults.
func NewWaker(pool *pgxpool.Pool) *Waker { return WakerConfig{}.NewWaker(pool) }

// NewWaker returns a waker that sends through a pool, which is the application's and is not
// closed. It listens on a connection that is made as those of the pool are, and is not one of
// them.
func (c WakerConfig) NewWaker(pool *pgxpool.Pool) *Waker {
	connect := func(ctx context.Context) (*pgx.Conn, error) {
		config := pool.Config()
		if config.BeforeConnect != nil { // which may set a password
			if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
				return nil, err
			}
		}
		return pgx.ConnectConfig(ctx, config.ConnConfig)
	}
	return c.of(connect, func(ctx context.Context, channel, text string) error {
		_, err := pool.Exec(ctx, notify, channel, text)
		return err
	})
}

// NewWakerDB returns a waker that sends through a pool of package sql, and listens on a
// connection that config describes, as [pgx.ParseConfig] makes it of a data source name.
func (c WakerConfig) NewWakerDB(db *sql.DB, config *pgx.ConnConfig) *Waker {
	connect := func(ctx context.Context) (*pgx.Conn, error) { return pgx.ConnectConfig(ctx, config) }
	return c.of(connect, func(ctx context.Context, channel, text string) error {
		_, err := db.ExecContext(ctx, notify, channel, text)
		return err
	})
}

const notify = "SELECT pg_notify($1, $2)"

func (c WakerConfig) of(connect func(context.Context) (*pgx.Conn, error), send func(ctx context.Context, channel, text string) error) *Waker {
	if c.PingAfter <= 0 {
		c.PingAfter = 10 * time.Second
	}
	return &Waker{within: c.PingAfter, connect: connect, send: send}
}

// Call sends a text to all who hear a channel. Before the next call sends, it waits ten times as long as
// this one took, up to 20 ms: a server that is busy is not kept busy with calls.
func (w *Waker) Call(ctx context.Context, channel, text string) error {
	w.calling.Lock()
	rest := w.rest
	w.calling.Unlock()
	pause := time.NewTimer(time.Until(rest))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	began := time.Now()
	err := w.send(ctx, channel, text)
	w.calling.Lock()
	defer w.calling.Unlock()
	w.rest = time.Now().Add(min(10*time.Since(began), 20*time.Millisecond))
	return err
}

// Hear yields what is sent on a channel, each text once if it was sent several times meanwhile,
// and "" when it begins to hear. It returns when ctx ends, or after it has yielded an error.
func (w *Waker) Hear(ctx context.Context, channel string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		l, e := w.join(channel)
		defer w.leave(l, e)
		for {
			select {
			case <-e.ready:
			case <-ctx.Done():
				return
			}
			texts, err := l.take(e)
			for _, text := range texts {
				if !yield(text, nil) {
					return
				}
			}
			if err != nil {
				yield("", err)
				return
			}
		}
	}
}

// join has the line listen on a channel, and makes a line if there is none.
func (w *Waker) join(channel string) (*line, *ear) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.line == nil {
		ctx, cancel := context.WithCancel(context.Background())
		w.line = &line{waker: w, ears: map[*ear]bool{}, interrupt: func() {}, cancel: cancel, over: make(chan struct{})}
		go w.line.run(ctx)
	}
	e := &ear{channel: channel, ready: make(chan struct{}, 1)}
	w.line.add(e)
	return w.line, e
}

// leave ends a line that nobody hears any more, and waits for that.
func (w *Waker) leave(l *line, e *ear) {
	w.mu.Lock()
	last := l.remove(e)
	if last && w.line == l {
		w.line = nil
	}
	w.mu.Unlock()
	if last {
		l.cancel()
		<-l.over
	}
}

// forget has the next who hears make another line.
func (w *Waker) forget(l *line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.line == l {
		w.line = nil
	}
}
