package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/session"
	"github.com/tracbus/tracbus/internal/sqltext"
	"github.com/tracbus/tracbus/internal/tombstone"
)

// mysql takes tids from AUTO_INCREMENT, when the first row of a transaction is inserted.
// They may commit out of order and leave gaps. Whoever misses one asks who holds it, and
// closes it if nobody does: see package tombstone. It is MariaDB too.
var mysql = &dialect{
	text: sqltext.Of("mysql"), title: "MySQL", lingers: true, schemas: true, gapless: true,

	begin:          []string{"SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION READ WRITE", "SAVEPOINT tracbus_begun"},
	snapshot:       []string{"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"},
	stillOpen:      "RELEASE SAVEPOINT tracbus_begun", // a deadlock ends a whole transaction
	checksOnAppend: true,
	lock:           (*Store).lockMySQL,

	counter:    "SELECT coalesce(max(tid), 0) FROM {journal_change}", // InnoDB keeps what comes next above that
	setCounter: (*Store).setCounterMySQL,

	append:   (*Store).appendMySQL,
	bound:    noBound,
	decided:  (*Store).decidedMySQL,
	find:     (*Store).findMySQL,
	answered: sqltext.MySQLAnswered,
	status:   (*Store).statusMySQL,

	check:       (*Store).checkMySQL,
	checkTables: (*Store).checkTablesMySQL,

	ownTables:  []string{"journal_decided", "journal_lock"},
	schemaName: "SELECT coalesce(database(), '')",
	tables:     "SELECT table_name, table_type = 'VIEW' FROM information_schema.tables WHERE table_schema = ? AND table_name IN ",
	routines:   []string{"journal_begin", "journal_append"},
	migrating:  "SELECT get_lock(left(concat('tracbus ', ?), 64), 3600) = 1", // no transaction holds DDL together
	migrated:   "SELECT release_lock(left(concat('tracbus ', ?), 64))",
}

func (s *Store) checkMySQL(ctx context.Context) error {
	var version string
	if err := limit.QueryRow(ctx, s.db, s.SQL("SELECT @@max_allowed_packet, version()")).Scan(&s.packet, &version); err != nil {
		return err
	}
	if err := s.findIsolation(ctx); err != nil {
		return err
	}
	if err := s.checkSession(ctx, s.db); err != nil {
		return err
	}
	share := "FOR SHARE"
	mariaDB := strings.Contains(version, "MariaDB")
	if mariaDB {
		share = "LOCK IN SHARE MODE"
	}
	s.closer = &tombstone.Closer{
		DB: s.db, MariaDB: mariaDB,
		Look:   s.SQL("SELECT tid FROM {journal_change} WHERE tid BETWEEN ? AND ? AND seq = 0 ORDER BY tid LIMIT 1 " + share + " NOWAIT"),
		Insert: s.SQL(`INSERT IGNORE INTO {journal_change} (tid, seq, changes, commit_id, origin, realm, id, "change", time, author, ipnr, authenticated, comment, parts, document) VALUES `),
		All:    s.SQL("SELECT tid, commit_id FROM {journal_change} WHERE tid > ? AND seq = 0 ORDER BY tid"),
		Mark: s.SQL(`UPDATE {journal_decided} d SET d.tid = ?, d.commit_id = ? WHERE d.one = 1 AND (d.tid < ? OR NOT EXISTS (
			SELECT 1 FROM {journal_change} c WHERE c.tid = d.tid AND c.seq = 0 AND c.commit_id = d.commit_id))`),
		Show: s.SQL("SELECT tid, session FROM {journal_change} WHERE tid > ? AND seq = 0 ORDER BY tid LIMIT 1000"),
		Row:  s.SQL("(?, 0, 0, ?, '', '', '', '', {NOW}, '', '', 0, '', 0, '')"),
	}
	s.sessions = &session.Sessions{DB: s.db, Limits: s.limits}
	// Only a driver that puts values into the text itself, and sends many
	// statements in one, can do this.
	rows, err := s.db.QueryContext(ctx, "SELECT ?; SELECT ?", 1, 2)
	if err != nil {
		return ctx.Err()
	}
	defer rows.Close()
	s.batches = rows.NextResultSet() && rows.Err() == nil
	s.closer.Batches = s.batches
	return limit.Drain(ctx, rows)
}

// findIsolation finds the name of the variable that bentMySQL needs.
func (s *Store) findIsolation(ctx context.Context) error {
	rows, err := s.db.QueryContext(ctx, "SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		s.bent = strings.ReplaceAll(bentMySQL, "ISOLATION", name)
		s.straight = strings.ReplaceAll(straightMySQL, "ISOLATION", name)
	}
	return errors.Join(rows.Err(), rows.Close())
}

// checkTablesMySQL is for tables that came without their rows, as from a dump of
// the structure: to lock a row that does not exist locks nothing.
func (s *Store) checkTablesMySQL(ctx context.Context) error {
	var decided, locks int
	if err := limit.QueryRow(ctx, s.db, s.SQL("SELECT count(*) FROM {journal_decided} WHERE one = 1")).Scan(&decided); err != nil {
		return err
	}
	if decided == 0 {
		return fmt.Errorf("%w: journal_decided has no row", ErrSchema)
	}
	if err := limit.QueryRow(ctx, s.db, s.SQL("SELECT count(*) FROM {journal_lock} WHERE slot >= 0 AND slot < ?"), slots).Scan(&locks); err != nil {
		return err
	}
	if locks != slots {
		return fmt.Errorf("%w: journal_lock has %d of its %d rows, so resources would not be locked", ErrSchema, locks, slots)
	}
	return s.checkRoutinesMySQL(ctx)
}

// checkRoutinesMySQL finds out whether this user may call the procedures: one who may not can
// still follow. A procedure keeps the sql_mode that it was made with.
func (s *Store) checkRoutinesMySQL(ctx context.Context) error {
	for _, name := range s.dialect.routines {
		var mode string
		err := limit.QueryRow(ctx, s.db, s.SQL("SELECT sql_mode FROM information_schema.routines WHERE routine_schema = ? AND routine_name = ? AND routine_type = 'PROCEDURE'"), s.schema, name).Scan(&mode)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return nil
		case err != nil:
			return err
		case !strings.Contains(mode, "STRICT_"):
			return fmt.Errorf("%w: the procedure %s was made with the sql_mode %q, and would cut what is too long: expected STRICT_TRANS_TABLES", ErrUnsupported, name, mode)
		}
	}
	s.begins = s.SQL("CALL {journal_begin}(OWN)")
	return nil
}

func (s *Store) lockMySQL(ctx context.Context, q SQL, slot int64) error {
	return limit.Ask(ctx, q, s.SQL("SELECT slot FROM {journal_lock} WHERE slot = ? FOR UPDATE"), slot)
}

// setCounterMySQL closes a tid: what is taken later is above.
func (s *Store) setCounterMySQL(ctx context.Context, q SQL, tid int64) error {
	_, err := q.ExecContext(ctx, s.closer.Insert+s.closer.Row, tid, rand.Text())
	return err
}

// findMySQL waits until nobody holds the tid: then its row is seen, or never will be. Without
// the tid, it first waits until the session is gone, and looks for a row that may not be
// committed.
func (s *Store) findMySQL(ctx context.Context, commitID string, tid, above int64, session Session) (found int64, landed bool, err error) {
	if tid == 0 {
		if session.ID != 0 {
			if err := s.sessions.WaitUntilGone(ctx, session); err != nil {
				return 0, false, err
			}
		}
		err := s.dirtily(ctx, func(q SQL) (err error) {
			tid, _, err = s.find(ctx, q, commitID, 0, above)
			return err
		})
		if err != nil || tid == 0 {
			return 0, false, err
		}
	}
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		held, err := s.closer.Held(ctx, tid)
		if err != nil {
			return 0, false, err
		}
		if !held {
			return s.find(ctx, s.db, commitID, tid, above)
		}
		if !Sleep(ctx, pause) {
			return 0, false, fmt.Errorf("tid %d is of a transaction that has not ended: %w", tid, ctx.Err())
		}
	}
}

// dirtily calls f with a transaction that sees what is not committed.
func (s *Store) dirtily(ctx context.Context, f func(q SQL) error) error {
	conn, err := s.begin(ctx, s.limits.Answer, []string{"SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", "START TRANSACTION READ ONLY"})
	if err != nil {
		return err
	}
	defer conn.Rollback()
	return f(conn)
}
