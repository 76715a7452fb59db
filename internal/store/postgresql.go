package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/chain"
	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
	"github.com/tracbus/tracbus/internal/store/insert"
	"github.com/tracbus/tracbus/internal/store/schema"
)

// postgresql takes tids from a sequence, so they may commit out of order and
// leave gaps. Advisory locks show which transactions have not ended.
var postgresql = &dialect{
	text: sqltext.Of("postgresql"), title: "PostgreSQL", schemas: true, txDDL: true, chains: true,

	begin:          []string{"BEGIN ISOLATION LEVEL READ COMMITTED DEFERRABLE"}, // which marks it, and does nothing else
	snapshot:       []string{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
	stillOpen:      "SELECT 1", // an error before makes every statement fail
	checksOnAppend: true,
	arrays:         true,
	lock:           (*Store).lockPostgreSQL,

	counter:    "SELECT coalesce(pg_sequence_last_value('{journal_tid}'::regclass), 0)",
	setCounter: (*Store).setCounterPostgreSQL,

	append:   (*Store).appendPostgreSQL,
	bound:    (*Store).boundPostgreSQL,
	decided:  (*Store).boundPostgreSQL,
	find:     (*Store).findPostgreSQL,
	answered: sqltext.PostgreSQLAnswered,
	status:   (*Store).statusPostgreSQL,

	check:       (*Store).checkPostgreSQL,
	checkTables: (*Store).checkTablesPostgreSQL,

	ownTables:  []string{"journal_count"},
	schemaName: "SELECT coalesce(current_schema(), '')",
	tables:     "SELECT table_name, table_type = 'VIEW' FROM information_schema.tables WHERE table_schema = ? AND table_name IN ",
	migrating:  "SELECT CAST(? AS text) IS NOT NULL FROM pg_advisory_xact_lock(7074, 1)",
}

func (s *Store) checkPostgreSQL(ctx context.Context) error {
	var standby bool
	var version int
	err := limit.QueryRow(ctx, s.db, "SELECT pg_is_in_recovery(), current_setting('server_version_num')::integer").Scan(&standby, &version)
	switch {
	case err != nil:
		return err
	case standby:
		return fmt.Errorf("%w: this server is a standby, which does not show the primary's locks: expected the primary", ErrUnsupported)
	case version < 130000:
		return fmt.Errorf("%w: PostgreSQL %d: expected 13 or later", ErrUnsupported, version/10000)
	}
	_, err = s.db.ExecContext(ctx, "SELECT 1; SELECT 1")
	s.joins, s.bent, s.appends = err == nil, bentPostgreSQL, schema.Of("postgresql").Append()
	return s.checkSession(ctx, s.db)
}

// checkTablesPostgreSQL refuses a journal without its function, a sequence that hands
// out tids out of order, and a copy of another journal.
func (s *Store) checkTablesPostgreSQL(ctx context.Context) error {
	if err := s.checkCopy(ctx); err != nil {
		return err
	}
	var cache, step, functions int64
	var cycle bool
	err := limit.QueryRow(ctx, s.db, s.SQL(`SELECT cache_size, increment_by, cycle,
		(SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = schemaname AND p.proname = 'journal_bound')
		FROM pg_sequences WHERE schemaname = ? AND sequencename = 'journal_tid'`), s.schema).Scan(&cache, &step, &cycle, &functions)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("%w: the sequence journal_tid is missing", ErrSchema)
	case err != nil:
		return err
	case functions == 0:
		return fmt.Errorf("%w: the function journal_bound is missing", ErrSchema)
	case cache != 1 || step != 1 || cycle:
		return fmt.Errorf("%w: the sequence journal_tid has CACHE %d, INCREMENT %d, CYCLE %t: expected 1, 1 and false, or tids do not follow the commits", ErrUnsupported, cache, step, cycle)
	}
	return nil
}

func (s *Store) lockPostgreSQL(ctx context.Context, q SQL, slot int64) error {
	return limit.Ask(ctx, q, s.SQL("SELECT pg_advisory_xact_lock(CAST(? AS integer), CAST(? AS integer))"), s.class, slot)
}

func (s *Store) setCounterPostgreSQL(ctx context.Context, q SQL, tid int64) error {
	return limit.Ask(ctx, q, s.SQL("SELECT setval('{journal_tid}'::regclass, CAST(? AS bigint))"), tid)
}

// begunHere is true in the library's own transactions: those that are deferrable, because one that
// the application began after it had ended ours is not.
const begunHere = "current_setting('transaction_deferrable') = 'on' AND current_setting('default_transaction_deferrable') = 'off'"

// appendPostgreSQL sends all in one statement, if at most one slot is to be locked and the rows
// are not too many.
func (s *Store) appendPostgreSQL(ctx context.Context, q SQL, slots []int64, rows [][]any, _ bool) (tid int64, committed bool, err error) {
	if len(slots) > 1 {
		for _, slot := range slots {
			if err := s.lockPostgreSQL(ctx, q, slot); err != nil {
				return 0, false, err
			}
		}
		slots = nil
	}
	before, only, extra := "''", insert.UTF8Session, []any(nil)
	if len(slots) > 0 {
		before, extra = insert.LockSlot, []any{slots[0]}
	}
	c, own := q.(*Conn)
	if own {
		only += " AND " + begunHere
	}
	if own && c.chain.Began() != 0 {
		only, extra = only+" AND "+chain.Began+" = CAST(? AS bigint)", append(extra, c.chain.Began())
	}
	text, args, rest := insert.Taking(s.appends, before, only, "", extra, rows)
	err = limit.QueryRow(ctx, q, s.SQL(text), args...).Scan(&tid)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		err = s.refusedPostgreSQL(ctx, q)
	case sqltext.IsDuplicate(err):
		err = fmt.Errorf("%w, as after a restore of a part of the database: %w", ErrCounter, err)
	}
	if err != nil {
		return 0, false, err
	}
	return tid, false, s.insertEach(ctx, q, tid, rest)
}

// refusedPostgreSQL says why an append has stored nothing.
func (s *Store) refusedPostgreSQL(ctx context.Context, q SQL) error {
	var tid, had, began int64
	var begun bool
	if err := s.checkSession(ctx, q); err != nil {
		return err
	}
	err := limit.QueryRow(ctx, q, s.SQL("SELECT ("+s.dialect.counter+"), "+highest+", "+begunHere+", "+chain.Began)).Scan(&tid, &had, &begun, &began)
	c, own := q.(*Conn)
	switch {
	case err != nil:
		return fmt.Errorf("nothing was stored, and why is not known: %w", err)
	case own && (!begun || c.chain.Began() != 0 && c.chain.Began() != began):
		return errors.New("the transaction is another one than at first: that has ended before its commit")
	}
	return behind(tid, had)
}

// boundPostgreSQL returns the tid up to which every transaction has ended.
func (s *Store) boundPostgreSQL(ctx context.Context, q SQL) (int64, error) {
	var bound int64
	var standby bool
	err := limit.QueryRow(ctx, q, s.SQL("SELECT bound, standby FROM {journal_bound}()")).Scan(&bound, &standby)
	if err == nil && standby {
		err = fmt.Errorf("%w: this server is a standby, which does not show the primary's locks: expected the primary", ErrUnsupported)
	}
	return bound, err
}

// findPostgreSQL waits until the transaction's lock is gone, or, if its tid is not known, the session
// that was to take one: then it is seen, or never will be.
func (s *Store) findPostgreSQL(ctx context.Context, commitID string, tid, above int64, session Session) (found int64, landed bool, err error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		over, err := s.overPostgreSQL(ctx, tid, session)
		if err != nil {
			return 0, false, err
		}
		found, landed, err := s.find(ctx, s.db, commitID, tid, above)
		if err != nil || landed || over {
			return found, landed, err
		}
		if !Sleep(ctx, pause) {
			return 0, false, ctx.Err()
		}
	}
}

func (s *Store) overPostgreSQL(ctx context.Context, tid int64, session Session) (over bool, err error) {
	if tid == 0 && session.ID != 0 {
		err = limit.QueryRow(ctx, s.db, s.SQL("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = CAST(? AS integer) AND coalesce("+SessionBegan+", CAST(? AS bigint)) = CAST(? AS bigint)"),
			session.ID, session.Began, session.Began).Scan(&over)
		return over, err
	}
	bound, err := s.boundPostgreSQL(ctx, s.db)
	if err != nil || bound >= tid {
		return true, err
	}
	return s.forgottenPostgreSQL(ctx, tid)
}

// SessionBegan is when a session of pg_stat_activity began, in microseconds; null for a role that may
// not know that.
const SessionBegan = "CAST(extract(epoch FROM backend_start) * 1000000 AS bigint)"

// forgottenPostgreSQL says whether the server has forgotten that a tid was taken: it has
// crashed since, and with it every transaction of that time has ended. If one of them
// had been committed, what it took from the sequence would have reached the disk before.
func (s *Store) forgottenPostgreSQL(ctx context.Context, tid int64) (bool, error) {
	var head, locks int64
	err := limit.QueryRow(ctx, s.db, s.SQL("SELECT b.head, (SELECT count(*) "+heldPostgreSQL+") FROM {journal_bound}() b"), s.class).Scan(&head, &locks)
	return head < tid && locks == 0, err
}

// heldPostgreSQL finds the locks of those who have taken a tid, with a placeholder for the
// class.
const heldPostgreSQL = `FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
	WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.classid::bigint >> 16 = CAST(? AS bigint)
	  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`

func (s *Store) statusPostgreSQL(ctx context.Context, st Status) (Status, error) {
	st.skips = true
	if err := limit.QueryRow(ctx, s.db, s.SQL("SELECT head FROM {journal_bound}()")).Scan(&st.Head); err != nil {
		return st, err
	}
	rows, err := s.db.QueryContext(ctx, s.SQL(`SELECT l.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.client_addr::text, 'local'),
		coalesce(a.state, CASE WHEN l.pid IS NULL THEN 'prepared transaction' ELSE 'state not shown to this user' END), coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::double precision
	`+heldPostgreSQL+" ORDER BY 6 DESC"), s.class)
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
		session := fmt.Sprintf("pid %d, user %s, from %s, %s", pid.Int64, user, address, state)
		if application != "" {
			session += ", application " + application
		}
		st.Blockers = append(st.Blockers, Blocker{session, time.Duration(seconds * float64(time.Second))})
	}
	return st, errors.Join(rows.Err(), rows.Close())
}
