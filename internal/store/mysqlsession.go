package store

import (
	"context"
	"fmt"

	"github.com/tracbus/tracbus/internal/limit"
)

// Session is how MySQL names a connection. Zero is not known.
type Session struct {
	id     int64
	server int64 // when the server started, by its own clock, in seconds since 1970
}

// whoMySQL asks how the server names the connection, and when it started if that is known.
const whoMySQL = "SELECT connection_id(), coalesce(@tracbus_server, 0) LIMIT 1"

// session returns how the server names a connection. When the server started is asked
// once for each connection, and kept there in a variable.
func (s *Store) session(ctx context.Context, q SQL) (session Session, err error) {
	c, own := q.(*Conn)
	if own {
		session = c.Session
	}
	if session.id == 0 {
		err = limit.QueryRow(ctx, q, whoMySQL).Scan(&session.id, &session.server)
	}
	if err == nil && own && session.server == 0 {
		if session.server, err = s.serverStart(ctx, q); err == nil {
			_, err = q.ExecContext(ctx, fmt.Sprintf("SET @tracbus_server = %d", session.server))
		}
	}
	if own && err == nil {
		c.Session = session
	}
	return session, err
}

// serverStart returns when the server started. It is the same number for as long as the
// server runs, also if its clock is put forward or back: the time that it is up is
// counted by the same clock.
func (s *Store) serverStart(ctx context.Context, q SQL) (seconds int64, err error) {
	for {
		var before, up, after int64
		var name string
		now := s.SQL("SELECT unix_timestamp()")
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
