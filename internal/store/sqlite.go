package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// sqlite lets one transaction write at a time, so tids follow the commits, and
// whoever sees one tid sees all below it.
var sqlite = &dialect{
	text: sqltext.Of("sqlite"), title: "SQLite", oneWriter: true, txDDL: true,

	begin:    []string{"BEGIN IMMEDIATE"},
	snapshot: []string{"BEGIN"},

	allocate: []string{"INSERT INTO {journal_transaction} (mark, origin, realms) VALUES (?, ?, ?)"},
	tid:      "?",

	counter:    "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'journal_transaction'",
	setCounter: (*Store).setCounterSQLite,

	append:   (*Store).appendSQLite,
	bound:    noBound,
	decided:  noBound,
	find:     (*Store).findSQLite,
	answered: sqltext.SQLiteAnswered,
	status:   (*Store).statusSQLite,

	check:       (*Store).checkSQLite,
	checkTables: func(*Store, context.Context) error { return nil }, // all is in the tables

	inSchema:   "main", // and not in that of temporary tables
	schemaName: "SELECT ''",
	tables:     "SELECT name FROM sqlite_master WHERE type = 'table' AND ? = '' AND name IN ",
}

func (s *Store) checkSQLite(ctx context.Context) error {
	var file sql.NullString
	var n int
	var name string
	if err := limit.QueryRow(ctx, s.db, "PRAGMA database_list").Scan(&n, &name, &file); err != nil {
		return err
	}
	if file.String == "" && s.db.Stats().MaxOpenConnections != 1 {
		return fmt.Errorf("%w: a database in memory is another one for each connection: expected a file, or SetMaxOpenConns(1)", ErrUnsupported)
	}
	s.bent = bentSQLite
	return s.checkSession(ctx, s.db)
}

func (s *Store) appendSQLite(ctx context.Context, q SQL, head []any, inserts []insert, _ bool) (tid int64, committed bool, err error) {
	result, err := q.ExecContext(ctx, s.SQL(s.dialect.allocate[0]), head...)
	if err != nil {
		return 0, false, err
	}
	if tid, err = result.LastInsertId(); err != nil {
		return 0, false, err
	}
	floor, err := s.PrunedTo(ctx, q)
	if err == nil && tid <= floor {
		err = behind(tid, floor)
	}
	if err != nil {
		return 0, false, err
	}
	return tid, false, s.insertEach(ctx, q, tid, inserts)
}

func (s *Store) setCounterSQLite(ctx context.Context, q SQL, tid int64) error {
	for _, text := range []string{
		"INSERT INTO sqlite_sequence (name, seq) SELECT 'journal_transaction', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'journal_transaction')",
		fmt.Sprintf("UPDATE sqlite_sequence SET seq = %d WHERE name = 'journal_transaction'", tid),
	} {
		if _, err := q.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) findSQLite(ctx context.Context, commitID string, tid int64, _ Session) (found int64, landed bool, err error) {
	conn, err := s.Begin(ctx) // after every other writer
	if err != nil {
		return 0, false, err
	}
	defer conn.Rollback()
	return s.find(ctx, conn, commitID, tid)
}

func (s *Store) statusSQLite(_ context.Context, st Status) (Status, error) {
	st.Head = st.End.TID
	return st, nil
}
