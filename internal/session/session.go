// Package session knows the connections of MySQL and MariaDB, and the name of those of PostgreSQL. Its
// secret is how the server names them, and what it says of what they do.
package session

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
)

// Session is how the server names a connection. Zero is not known.
type Session struct {
	ID    int64
	Began int64 // when the server started, by its own clock, in seconds since 1970; on PostgreSQL the session, in microseconds
}

// Sessions are those of one database. Its methods may be called concurrently.
type Sessions struct {
	DB     *sql.DB
	Limits limit.Limits

	mu    sync.Mutex   // guards what follows
	known map[any]used // of connections that were used before, by how the driver knows each
}

// used is a session, and when the server was last heard on it.
type used struct {
	Session
	last time.Time
}

// freshFor is how long a connection is fresh that was used.
const freshFor = time.Second

// Of returns the session of a connection. It asks once, because that takes round trips. fresh
// says that the connection was used just now: else it may have died in silence since.
func (all *Sessions) Of(ctx context.Context, conn *sql.Conn) (s Session, fresh bool, err error) {
	key := keyOf(conn)
	all.mu.Lock()
	before, ok := all.known[key]
	all.mu.Unlock()
	if ok {
		return before.Session, time.Since(before.last) < freshFor, nil
	}
	id, err := Number(ctx, conn)
	if err != nil {
		return Session{}, false, err
	}
	start, err := serverStart(ctx, conn)
	if err != nil {
		return Session{}, false, err
	}
	s = Session{id, start}
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.known == nil || len(all.known) > 2*all.DB.Stats().OpenConnections+8 { // most of them are closed
		all.known = map[any]used{}
	}
	if key != nil {
		all.known[key] = used{s, time.Now()}
	}
	return s, true, nil
}

// Heard notes that the server was heard on a connection.
func (all *Sessions) Heard(conn *sql.Conn) {
	key := keyOf(conn)
	all.mu.Lock()
	defer all.mu.Unlock()
	if u, ok := all.known[key]; ok {
		all.known[key] = used{u.Session, time.Now()}
	}
}

// keyOf returns how the driver knows a connection; nil if that cannot be compared.
func keyOf(conn *sql.Conn) (key any) {
	_ = conn.Raw(func(d any) error {
		if d != nil && reflect.TypeOf(d).Comparable() {
			key = d
		}
		return nil
	})
	return key
}

// Number returns the number of a connection.
func Number(ctx context.Context, q limit.Querier) (id int64, err error) {
	err = limit.QueryRow(ctx, q, "SELECT connection_id() LIMIT 1").Scan(&id)
	return id, err
}

// serverStart returns when the server started. It is the same number for as long as the
// server runs, also if its clock is put forward or back: the time that it is up is
// counted by the same clock.
func serverStart(ctx context.Context, q limit.Querier) (seconds int64, err error) {
	const now = "SELECT unix_timestamp() LIMIT 1"
	for {
		var before, up, after int64
		var name string
		if err := limit.QueryRow(ctx, q, now).Scan(&before); err != nil {
			return 0, err
		}
		if err := limit.QueryRow(ctx, q, "SHOW STATUS LIKE 'Uptime'").Scan(&name, &up); err != nil {
			return 0, err
		}
		if err := limit.QueryRow(ctx, q, now).Scan(&after); err != nil {
			return 0, err
		}
		if before == after { // else it is not known at which of the two it was up so long
			return before - up, nil
		}
	}
}

// WaitUntilGone waits until the server is done with a connection that was broken.
// Only then is it sure that it will not come yet to a statement that it had
// received in one piece. With the server that it was on, it is gone too: another one,
// or that one when it has started again, gives its number to a stranger.
func (all *Sessions) WaitUntilGone(ctx context.Context, s Session) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		var n int
		err := limit.QueryRow(ctx, all.DB, "SELECT count(*) FROM information_schema.processlist WHERE id = ? LIMIT 1", s.ID).Scan(&n)
		if err != nil || n == 0 {
			return err
		}
		if now, err := serverStart(ctx, all.DB); err != nil || s.Began != 0 && now != s.Began {
			return err
		}
		if !limit.Sleep(ctx, pause) {
			return fmt.Errorf("connection %d has not ended: %w", s.ID, ctx.Err())
		}
	}
}
