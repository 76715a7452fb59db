// Package notify wakes the processes of a journal by LISTEN and NOTIFY of PostgreSQL,
// over the driver pgx, as an application would.
package notify

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
)

// Waker is a tracbus.Waker.
type Waker struct {
	DB  *sql.DB // sends
	DSN string  // of the connection that listens

	// PingAfter is how long nothing comes before the server is asked whether it is there,
	// because a connection may die in silence. Zero means 10 s.
	PingAfter time.Duration
}

// Call sends a text. It is not within the transaction of a change, which would make all that
// send wait for each other.
func (w Waker) Call(ctx context.Context, channel, text string) error {
	_, err := w.DB.ExecContext(ctx, "SELECT pg_notify($1, $2)", channel, text)
	return err
}

// Hear listens on a connection of its own.
func (w Waker) Hear(ctx context.Context, channel string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		conn, err := pgx.Connect(ctx, w.DSN)
		if err == nil {
			defer conn.Close(context.WithoutCancel(ctx))
			_, err = conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize())
		}
		for text := ""; ; {
			if !yield(text, err) || err != nil {
				return
			}
			text, err = w.next(ctx, conn)
		}
	}
}

// next waits for a text.
func (w Waker) next(ctx context.Context, conn *pgx.Conn) (string, error) {
	pause := cmp.Or(w.PingAfter, 10*time.Second)
	for {
		waiting, cancel := context.WithTimeout(ctx, pause)
		n, err := conn.WaitForNotification(waiting)
		cancel()
		switch {
		case err == nil:
			return n.Payload, nil
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return "", err
		}
		asking, cancel := context.WithTimeout(ctx, pause)
		err = conn.Ping(asking)
		cancel()
		if err != nil {
			return "", err
		}
	}
}
