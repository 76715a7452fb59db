package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// check refuses a database that would break the journal's promises in silence.
func (s *Store) check(ctx context.Context) error {
	switch s.dialect.Name {
	case "postgresql":
		return s.checkPostgreSQL(ctx)
	case "mysql":
		return s.checkMySQL(ctx)
	}
	return s.checkSQLite(ctx)
}

func (s *Store) checkPostgreSQL(ctx context.Context) error {
	var standby bool
	var version int
	err := s.db.QueryRowContext(ctx, "SELECT pg_is_in_recovery(), current_setting('server_version_num')::integer").Scan(&standby, &version)
	switch {
	case err != nil:
		return err
	case standby:
		return fmt.Errorf("%w: this server is a standby, which does not show the primary's locks: expected the primary", ErrUnsupported)
	case version < 130000:
		return fmt.Errorf("%w: PostgreSQL %d: expected 13 or later", ErrUnsupported, version/10000)
	}
	return nil
}

func (s *Store) checkMySQL(ctx context.Context) error {
	var mode string
	if err := s.db.QueryRowContext(ctx, "SELECT @@sql_mode, @@max_allowed_packet").Scan(&mode, &s.packet); err != nil {
		return err
	}
	if !strings.Contains(mode, "STRICT_TRANS_TABLES") && !strings.Contains(mode, "STRICT_ALL_TABLES") {
		return fmt.Errorf("%w: sql_mode %q cuts what is too long: expected STRICT_TRANS_TABLES", ErrUnsupported, mode)
	}
	if err := s.checkReads(ctx); err != nil {
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
	return nil
}

// checkReads refuses sessions whose plain reads show what is not committed, or
// go on showing what was when the first of them was made. The name of one
// variable is the version's.
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
		case name != "autocommit" && value == "READ-UNCOMMITTED":
			return fmt.Errorf("%w: %s is %s, and reads would show what may be rolled back: expected READ-COMMITTED or stricter", ErrUnsupported, name, value)
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

func (s *Store) checkSQLite(ctx context.Context) error {
	var file sql.NullString
	var n int
	var name string
	if err := s.db.QueryRowContext(ctx, "PRAGMA database_list").Scan(&n, &name, &file); err != nil {
		return err
	}
	if file.String == "" && s.db.Stats().MaxOpenConnections != 1 {
		return fmt.Errorf("%w: a database in memory is another one for each connection: expected a file, or SetMaxOpenConns(1)", ErrUnsupported)
	}
	return nil
}

// checkSequence refuses a sequence that hands out tids out of order.
func (s *Store) checkSequence(ctx context.Context) error {
	if s.dialect.Name != "postgresql" {
		return nil
	}
	var cache, step int64
	var cycle bool
	err := s.db.QueryRowContext(ctx, s.SQL("SELECT cache_size, increment_by, cycle FROM pg_sequences WHERE schemaname = ? AND sequencename = 'journal_tid'"),
		s.schema).Scan(&cache, &step, &cycle)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("%w: the sequence journal_tid is missing", ErrSchema)
	case err != nil:
		return err
	case cache != 1 || step != 1 || cycle:
		return fmt.Errorf("%w: the sequence journal_tid has CACHE %d, INCREMENT %d, CYCLE %t: expected 1, 1 and false, or tids do not follow the commits", ErrUnsupported, cache, step, cycle)
	}
	return nil
}

// checkParts refuses a journal without what is no table, or no table's
// structure, and without which writers would not wait for each other, or fail.
func (s *Store) checkParts(ctx context.Context) error {
	switch s.dialect.Name {
	case "postgresql":
		return s.checkFunctions(ctx)
	case "mysql":
		return s.checkLockRows(ctx)
	}
	return nil
}

func (s *Store) checkFunctions(ctx context.Context) error {
	for _, name := range []string{"journal_allocate", "journal_bound"} {
		var n int
		err := s.db.QueryRowContext(ctx, s.SQL("SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = ? AND p.proname = ?"),
			s.schema, name).Scan(&n)
		switch {
		case err != nil:
			return err
		case n == 0:
			return fmt.Errorf("%w: the function %s is missing", ErrSchema, name)
		}
	}
	return nil
}

// checkLockRows is for tables that came without their rows, as from a dump of
// the structure: to lock a row that is not there locks nothing.
func (s *Store) checkLockRows(ctx context.Context) error {
	var heads, locks int
	if err := s.db.QueryRowContext(ctx, s.SQL("SELECT count(*) FROM {journal_head} WHERE one = 1")).Scan(&heads); err != nil {
		return err
	}
	if heads == 0 {
		return fmt.Errorf("%w: journal_head has no row", ErrSchema)
	}
	if err := s.db.QueryRowContext(ctx, s.SQL("SELECT count(*) FROM {journal_lock} WHERE slot >= 0 AND slot < ?"), slots).Scan(&locks); err != nil {
		return err
	}
	if locks != slots {
		return fmt.Errorf("%w: journal_lock has %d of its %d rows, so resources would not be locked", ErrSchema, locks, slots)
	}
	return nil
}
