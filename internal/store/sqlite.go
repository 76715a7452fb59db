package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
	"github.com/tracbus/tracbus/internal/store/insert"
)

// sqlite lets one transaction write at a time, so tids follow the commits, and
// whoever sees one tid sees all below it.
var sqlite = &dialect{
	text: sqltext.Of("sqlite"), title: "SQLite", oneWriter: true, txDDL: true,

	begin:    []string{"BEGIN IMMEDIATE"},
	snapshot: []string{"BEGIN"},

	counter: "SELECT " + highest, // a tid is above the highest: nothing else counts

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
	tables:     "SELECT name, type = 'view' FROM sqlite_master WHERE type IN ('table', 'view') AND ? = '' AND name IN ",
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

// appendSQLite takes the tid after the highest, which nobody else can do meanwhile.
func (s *Store) appendSQLite(ctx context.Context, q SQL, _ []int64, rows [][]any, _ bool) (tid int64, committed bool, err error) {
	const text = insert.Into + "VALUES (1 + " + highest + ", ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING tid"
	if err = limit.QueryRow(ctx, kept(q), s.SQL(text), rows[0]...).Scan(&tid); err != nil {
		return 0, false, err
	}
	return tid, false, s.insertEach(ctx, q, tid, rows[1:])
}

func (s *Store) findSQLite(ctx context.Context, commitID string, tid, above int64, _ Session) (found int64, landed bool, err error) {
	conn, err := s.Begin(ctx) // after every other writer
	if err != nil {
		return 0, false, err
	}
	defer conn.Rollback()
	return s.find(ctx, conn, commitID, tid, above)
}

func (s *Store) statusSQLite(_ context.Context, st Status) (Status, error) {
	st.Head = st.End.TID
	return st, nil
}
