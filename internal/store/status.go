package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Status is what the database tells of a journal.
type Status struct {
	Head     int64 // the highest tid that was taken, as far as it is seen
	End      Place // up to which all is decided
	PrunedTo int64 // up to which changes are pruned

	Blockers []Blocker // who may hold readers or writers back, the oldest first
}

// Blocker is a transaction that has taken a tid, or is about to, and not ended.
type Blocker struct {
	Session string // what the database tells of it
	Age     time.Duration
}

// Status reads how the journal stands.
func (s *Store) Status(ctx context.Context) (st Status, err error) {
	if st.End, err = s.End(ctx, s.db); err != nil {
		return st, err
	}
	if st.PrunedTo, err = s.PrunedTo(ctx, s.db); err != nil {
		return st, err
	}
	switch s.dialect.Name {
	case "postgresql":
		return s.statusPostgreSQL(ctx, st)
	case "mysql":
		return s.statusMySQL(ctx, st)
	}
	st.Head = st.End.TID
	return st, nil
}

func (s *Store) statusPostgreSQL(ctx context.Context, st Status) (Status, error) {
	if err := s.db.QueryRowContext(ctx, s.SQL("SELECT head FROM {journal_bound}()")).Scan(&st.Head); err != nil {
		return st, err
	}
	rows, err := s.db.QueryContext(ctx, s.SQL(`SELECT l.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.client_addr::text, 'local'),
		coalesce(a.state, CASE WHEN l.pid IS NULL THEN 'prepared transaction' ELSE 'state not shown to this user' END), coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::double precision
	FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
	WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.classid::bigint >> 16 = CAST(? AS bigint)
	  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
	ORDER BY 6 DESC`), s.class)
	if err != nil {
		return st, err
	}
	defer rows.Close()
	for rows.Next() {
		var pid sql.NullInt64
		var user, application, address, state string
		var seconds float64
		if err := rows.Scan(&pid, &user, &application, &address, &state, &seconds); err != nil {
			return st, err
		}
		who := fmt.Sprintf("pid %d, user %s, from %s, %s", pid.Int64, user, address, state)
		if application != "" {
			who += ", application " + application
		}
		st.Blockers = append(st.Blockers, Blocker{who, time.Duration(seconds * float64(time.Second))})
	}
	return st, errors.Join(rows.Err(), rows.Close())
}

// statusMySQL tells who may hold the counter, as far as the user may see it. A
// counter that is held is about to be raised.
func (s *Store) statusMySQL(ctx context.Context, st Status) (Status, error) {
	held, err := s.counterHeld(ctx)
	if err != nil {
		return st, err
	}
	if err := s.db.QueryRowContext(ctx, s.SQL(readTID)).Scan(&st.Head); err != nil || !held {
		return st, err
	}
	st.Head++
	rows, err := s.db.QueryContext(ctx, `SELECT trx_mysql_thread_id, trx_state, timestampdiff(SECOND, trx_started, now())
	FROM information_schema.innodb_trx WHERE trx_rows_locked > 0 AND trx_state <> 'LOCK WAIT' ORDER BY trx_started`)
	if err != nil {
		st.Blockers = []Blocker{{Session: "a transaction that this user may not see"}}
		return st, nil
	}
	defer rows.Close()
	for rows.Next() {
		var id, seconds int64
		var state string
		if err := rows.Scan(&id, &state, &seconds); err != nil {
			return st, err
		}
		st.Blockers = append(st.Blockers, Blocker{fmt.Sprintf("connection %d, %s", id, state), time.Duration(seconds) * time.Second})
	}
	return st, errors.Join(rows.Err(), rows.Close())
}

// counterHeld says whether a transaction has taken a tid and not ended.
func (s *Store) counterHeld(ctx context.Context) (bool, error) {
	conn, err := s.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Rollback()
	var tid int64
	err = conn.QueryRowContext(ctx, s.SQL(readTID+" {FOR UPDATE} NOWAIT")).Scan(&tid)
	if err != nil && (strings.Contains(err.Error(), "1205") || strings.Contains(err.Error(), "3572")) { // MariaDB's word for it, and MySQL's
		return true, nil
	}
	return false, err
}
