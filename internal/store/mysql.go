package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// mysql has one counter, whose row is locked from the tid to the commit: so tids
// follow the commits and have no gaps. It is MariaDB too.
var mysql = &dialect{
	text: sqltext.Of("mysql"), title: "MySQL", lingers: true, schemas: true, gapless: true,

	begin:     []string{"SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION READ WRITE", "SAVEPOINT tracbus"},
	snapshot:  []string{"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"},
	stillOpen: "RELEASE SAVEPOINT tracbus", // a deadlock ends a whole transaction
	lock:      (*Store).lockMySQL,

	counter:    readTID,
	setCounter: (*Store).setCounterMySQL,

	append:   (*Store).appendMySQL,
	bound:    noBound,
	decided:  (*Store).decidedMySQL,
	find:     (*Store).findMySQL,
	answered: sqltext.MySQLAnswered,
	status:   (*Store).statusMySQL,

	check:       (*Store).checkMySQL,
	checkTables: (*Store).checkTablesMySQL,

	ownTables:  []string{"journal_head", "journal_lock"},
	schemaName: "SELECT coalesce(database(), '')",
	tables:     "SELECT table_name, table_type = 'VIEW' FROM information_schema.tables WHERE table_schema = ? AND table_name IN ",
	migrating:  "SELECT get_lock(left(concat('tracbus ', ?), 64), 3600) = 1", // no transaction holds DDL together
	migrated:   "SELECT release_lock(left(concat('tracbus ', ?), 64))",
}

// readTID asks for the counter: the tid that this transaction has taken, if it
// holds it.
const readTID = "SELECT tid FROM {journal_head} WHERE one = 1"

func (s *Store) checkMySQL(ctx context.Context) error {
	if err := limit.QueryRow(ctx, s.db, s.SQL("SELECT @@max_allowed_packet")).Scan(&s.packet); err != nil {
		return err
	}
	if err := s.checkReads(ctx); err != nil {
		return err
	}
	if err := s.checkSession(ctx, s.db); err != nil {
		return err
	}
	// Only a driver that puts values into the text itself, and sends many
	// statements in one, can do this.
	rows, err := s.db.QueryContext(ctx, "SELECT ?; SELECT ?", 1, 2)
	if err != nil {
		return ctx.Err()
	}
	defer rows.Close()
	s.batches = rows.NextResultSet() && rows.Err() == nil
	return limit.Drain(ctx, rows)
}

// checkReads refuses sessions whose plain reads go on showing what was there when the
// first of them was made. It also finds the name of the variable that bentMySQL needs.
func (s *Store) checkReads(ctx context.Context) error {
	rows, err := s.db.QueryContext(ctx, "SHOW VARIABLES WHERE Variable_name IN ('autocommit', 'tx_isolation', 'transaction_isolation')")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		switch {
		case name == "autocommit" && value != "ON":
			return fmt.Errorf("%w: autocommit is %s, and reads would show the same for ever: expected ON", ErrUnsupported, value)
		case name != "autocommit":
			s.bent = strings.ReplaceAll(bentMySQL, "ISOLATION", name)
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// checkTablesMySQL is for tables that came without their rows, as from a dump of
// the structure: to lock a row that does not exist locks nothing.
func (s *Store) checkTablesMySQL(ctx context.Context) error {
	var heads, locks int
	if err := limit.QueryRow(ctx, s.db, s.SQL("SELECT count(*) FROM {journal_head} WHERE one = 1")).Scan(&heads); err != nil {
		return err
	}
	if heads == 0 {
		return fmt.Errorf("%w: journal_head has no row", ErrSchema)
	}
	if err := limit.QueryRow(ctx, s.db, s.SQL("SELECT count(*) FROM {journal_lock} WHERE slot >= 0 AND slot < ?"), slots).Scan(&locks); err != nil {
		return err
	}
	if locks != slots {
		return fmt.Errorf("%w: journal_lock has %d of its %d rows, so resources would not be locked", ErrSchema, locks, slots)
	}
	return nil
}

// lockMySQL also notes how the server names the connection, if that is not known yet.
func (s *Store) lockMySQL(ctx context.Context, q SQL, slot int64) error {
	var session Session
	text := s.SQL("SELECT connection_id(), coalesce(@tracbus_server, 0) FROM {journal_lock} WHERE slot = ? FOR UPDATE")
	err := limit.QueryRow(ctx, q, text, slot).Scan(&session.id, &session.server)
	if c, own := q.(*Conn); own && c.Session.id == 0 {
		c.Session = session
	}
	return err
}

func (s *Store) setCounterMySQL(ctx context.Context, q SQL, tid int64) error {
	_, err := q.ExecContext(ctx, s.SQL("UPDATE {journal_head} SET tid = ? WHERE one = 1"), tid)
	return err
}

// decidedMySQL looks for the first tid that is not seen yet, among the last.
func (s *Store) decidedMySQL(ctx context.Context, q SQL) (tid int64, err error) {
	var head int64
	if err := limit.QueryRow(ctx, q, s.SQL(readTID)).Scan(&head); err != nil {
		return 0, err
	}
	floor, err := s.PrunedTo(ctx, q)
	if err != nil {
		return 0, err
	}
	tid = max(floor, head-recent)
	rows, err := q.QueryContext(ctx, s.SQL("SELECT tid FROM {journal_change} WHERE tid > ? ORDER BY tid"), tid)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var next int64
		if err := rows.Scan(&next); err != nil {
			return 0, err
		}
		if next > tid+1 {
			return tid, limit.Drain(ctx, rows)
		}
		tid = next
	}
	return tid, errors.Join(rows.Err(), rows.Close())
}

// recent is how many tids before the counter's are looked at for one that is
// not seen yet. What commits out of sight of a snapshot does so within
// microseconds of its neighbours.
const recent = 1000

func (s *Store) findMySQL(ctx context.Context, commitID string, tid int64, session Session) (found int64, landed bool, err error) {
	if session.id != 0 {
		if err := s.sessionGone(ctx, session); err != nil {
			return 0, false, err
		}
	}
	conn, err := s.Begin(ctx)
	if err != nil {
		return 0, false, err
	}
	defer conn.Rollback()
	var head int64 // once it is locked, whoever has taken a tid has ended
	if err := limit.QueryRow(ctx, conn, s.SQL(readTID+" {FOR UPDATE}")).Scan(&head); err != nil {
		return 0, false, err
	}
	return s.find(ctx, conn, commitID, tid)
}

// sessionGone waits until the server is done with a connection that was broken.
// Only then is it sure that it will not come yet to a statement that it had
// received in one piece. With the server that it was on, it is gone too: another one,
// or that one when it has started again, gives its number to a stranger.
func (s *Store) sessionGone(ctx context.Context, session Session) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		var n int
		err := limit.QueryRow(ctx, s.db, s.SQL("SELECT count(*) FROM information_schema.processlist WHERE id = ?"), session.id).Scan(&n)
		if err != nil || n == 0 {
			return err
		}
		if now, err := s.serverStart(ctx, s.db); err != nil || session.server != 0 && now != session.server {
			return err
		}
		if !Sleep(ctx, pause) {
			return fmt.Errorf("connection %d has not ended: %w", session.id, ctx.Err())
		}
	}
}

// statusMySQL says who may hold the counter, as far as the user may see it. A
// counter that is held is about to be raised.
func (s *Store) statusMySQL(ctx context.Context, st Status) (Status, error) {
	held, err := s.counterHeld(ctx)
	if err != nil {
		return st, err
	}
	if err := limit.QueryRow(ctx, s.db, s.SQL(readTID)).Scan(&st.Head); err != nil || !held {
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
	err = limit.QueryRow(ctx, conn, s.SQL(readTID+" {FOR UPDATE} NOWAIT")).Scan(&tid)
	if sqltext.IsLocked(err) {
		return true, nil
	}
	return false, err
}
