// Package pool knows when the connections of a pool are not what they seem: when two of SQLite
// share a cache, or a pooler hands one session of PostgreSQL to several of them.
package pool

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
)

// Unfit says why a journal cannot work on a pool of this dialect, or "" if it can.
func Unfit(ctx context.Context, db *sql.DB, dialect string) (why string, err error) {
	var unfit bool
	switch dialect {
	case "sqlite":
		why = "its connections share a cache, in which who reads makes who writes fail at once: expected a data source name without cache=shared"
		unfit, err = sharesCache(ctx, db)
	case "postgresql":
		why = "a pooler hands its sessions from one transaction to the next, and with them statements that this driver has prepared: " +
			"expected default_query_exec_mode=exec in the data source name of pgx, or binary_parameters=yes in that of lib/pq, or a pooler in session mode"
		unfit, err = handed(ctx, db)
	}
	if !unfit {
		why = ""
	}
	return why, err
}

// patience is how long a second connection is waited for, and tried with. The application may
// have the others, or another journal that is being opened: then nothing is found, and what is
// unfit shows itself later.
const patience = 300 * time.Millisecond

// pair calls f with two connections of a pool, if it gets two soon.
func pair(ctx context.Context, db *sql.DB, f func(a, b *sql.Conn) error) error {
	if db.Stats().MaxOpenConnections == 1 {
		return nil
	}
	a, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer a.Close()
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	b, err := db.Conn(soon)
	switch {
	case err != nil && soon.Err() != nil && ctx.Err() == nil:
		return nil
	case err != nil:
		return err
	}
	defer b.Close()
	return f(a, b)
}

// sharesCache says whether connections to an SQLite file share a cache. Its size is that of the
// file as a cache has it: what one connection sets, another one sees only in the same cache.
func sharesCache(ctx context.Context, db *sql.DB) (shares bool, err error) {
	const odd = 1999
	err = pair(ctx, db, func(a, b *sql.Conn) (err error) {
		var n, was, other int
		var name string
		var file sql.NullString
		if err := limit.QueryRow(ctx, a, "PRAGMA database_list").Scan(&n, &name, &file); err != nil || file.String == "" {
			return err // what is in memory is refused for that
		}
		if err := limit.QueryRow(ctx, a, "PRAGMA main.cache_size").Scan(&was); err != nil {
			return err
		}
		if _, err := a.ExecContext(ctx, "PRAGMA main.cache_size = "+strconv.Itoa(odd)); err != nil {
			return err
		}
		err = limit.QueryRow(ctx, b, "PRAGMA main.cache_size").Scan(&other)
		shares = other == odd && was != odd
		_, back := a.ExecContext(context.WithoutCancel(ctx), "PRAGMA main.cache_size = "+strconv.Itoa(was))
		return errors.Join(err, back)
	})
	return shares, err
}

// ask returns the number of a session of PostgreSQL. It has a value, so that it may be prepared.
const ask = "SELECT pg_backend_pid() WHERE CAST($1 AS integer) > 0"

// handed says whether a pooler such as PgBouncer hands a session of PostgreSQL from transaction to
// transaction, and the driver prepares statements in one of them and runs them in another.
//
// What one connection prepares under a name is there already when another one prepares the same:
// so the second query fails, if it comes to the same session. Without a name it may be gone when
// it is run, if others are handed the session between: so two connections that have been in one
// session try that for a while.
func handed(ctx context.Context, db *sql.DB) (handed bool, err error) {
	err = pair(ctx, db, func(a, b *sql.Conn) error {
		first, err := session(ctx, a)
		second := first
		if err == nil {
			second, err = session(ctx, b)
		}
		if err == nil && first == second {
			err = race(ctx, a, b)
		}
		if handed = isLost(err); handed {
			return nil
		}
		return err
	})
	return handed, err
}

// tries is how often each of two connections asks, if there is time: one of some tens fails where
// any can.
const tries = 400

// race has two connections ask at the same time, with one value and with two, so that each sees if
// it gets the statement of the other. One of them does it in transactions, so that it is in the way
// of the other one now and then. It returns when both have ended.
func race(ctx context.Context, a, b *sql.Conn) error {
	began := time.Now()
	more := func(i int, err error) bool { return err == nil && i < tries && time.Since(began) < patience }
	tried := make(chan error, 1)
	go func() {
		var err error
		for i := 0; more(i, err); i++ {
			err = within(ctx, b)
		}
		tried <- err
	}()
	var one error
	for i := 0; more(i, one); i++ {
		_, one = session(ctx, a)
	}
	if other := <-tried; one == nil || isLost(other) {
		return other
	}
	return one
}

// within asks in a transaction.
func within(ctx context.Context, c *sql.Conn) error {
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	_, err = session(ctx, tx, 2)
	return err
}

func session(ctx context.Context, q limit.Querier, more ...any) (pid int, err error) {
	text := ask
	if len(more) > 0 {
		text += " AND CAST($2 AS integer) > 0"
	}
	err = limit.QueryRow(ctx, q, text, append([]any{1}, more...)...).Scan(&pid)
	return pid, err
}

// isLost says whether PostgreSQL has a prepared statement already, or not any more, or one that is
// another than it was.
func isLost(err error) bool {
	var pg interface{ SQLState() string }
	return errors.As(err, &pg) && slices.Contains([]string{"42P05", "26000", "08P01"}, pg.SQLState())
}
