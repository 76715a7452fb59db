package store

import "github.com/tracbus/tracbus/internal/sqltext"

// Dialect is one database's way to say what all of them can do: a row of data.
type Dialect struct {
	Name string

	text *sqltext.Dialect // how it writes a statement

	oneWriter bool // a transaction excludes all other writers from its BEGIN on
	prefix    bool // tids have no gaps; what stands behind one is not decided
	txDDL     bool // a transaction can create tables

	begin    []string // begins a transaction that writes
	snapshot []string // begins one that reads as of one moment

	// stands fails if the transaction that begin began was ended by the server
	// or by the application's own statements: what comes next would be stored
	// without it.
	stands string

	// lock locks a resource until the commit: marks are for the journal's lock
	// class and the resource's number, or for the number alone. What it
	// returns is MySQL's name for the connection, elsewhere nothing.
	lock string

	// allocate is what takes a tid, with marks for mark, origin and realms, and
	// tid is how an INSERT of the same transaction says it.
	allocate []string
	tid      string

	schemaName string // asks for the schema that is used where none is named
	hasTable   string // counts tables, with marks for schema and name
	migrating  string // lets one migration at a time run, until its transaction ends
}

var dialects = map[string]*Dialect{
	"postgresql": {
		Name: "postgresql", text: sqltext.Of("postgresql"), txDDL: true,

		begin:    []string{"BEGIN ISOLATION LEVEL READ COMMITTED"},
		snapshot: []string{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
		stands:   "SELECT 1", // an error before makes every statement fail
		lock:     "SELECT now()::text FROM pg_advisory_xact_lock(CAST(? AS integer), CAST(? AS integer))",

		// The function takes the shared lock, then the tid: in that order, as
		// two statements. A reader that sees no lock below a tid knows that
		// every transaction up to it has ended.
		allocate: []string{"SELECT {journal_allocate}(?, ?, ?) AS tid"},
		tid:      "(SELECT tid FROM t)",

		schemaName: "SELECT coalesce(current_schema(), '')",
		hasTable:   "SELECT count(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
		migrating:  "SELECT pg_advisory_xact_lock(7074, 1)",
	},
	"mysql": {
		Name: "mysql", text: sqltext.Of("mysql"), prefix: true,

		begin:    []string{"SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION READ WRITE", "SAVEPOINT tracbus"},
		snapshot: []string{"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"},
		stands:   "RELEASE SAVEPOINT tracbus", // a deadlock ends a whole transaction
		lock:     "SELECT connection_id() FROM {journal_lock} WHERE slot = ? FOR UPDATE",

		// The counter's row is locked from here to the commit, so tids follow
		// the commits and have no gaps. A reader stops at the first that it
		// does not see. A counter that is missing makes the tid null, which the
		// table refuses. LAST_INSERT_ID keeps the tid for the session.
		allocate: []string{
			"UPDATE {journal_head} SET tid = tid + 1 WHERE one = 1",
			"INSERT INTO {journal_transaction} (tid, mark, origin, realms) VALUES (LAST_INSERT_ID((SELECT tid FROM {journal_head} WHERE one = 1)), ?, ?, ?)",
		},
		tid: "LAST_INSERT_ID()",

		schemaName: "SELECT coalesce(database(), '')",
		hasTable:   "SELECT count(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
	},
	"sqlite": {
		Name: "sqlite", text: sqltext.Of("sqlite"), oneWriter: true, txDDL: true,

		begin:    []string{"BEGIN IMMEDIATE"},
		snapshot: []string{"BEGIN"},

		// One transaction writes at a time, so tids follow the commits.
		allocate: []string{"INSERT INTO {journal_transaction} (mark, origin, realms) VALUES (?, ?, ?)"},
		tid:      "?",

		schemaName: "SELECT ''",
		hasTable:   "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND ? = '' AND name = ?",
	},
}

// SQL writes a statement of this library in the database's words, as
// [sqltext.Dialect.Write] says.
func (s *Store) SQL(text string) string {
	if known, ok := s.texts.Load(text); ok {
		return known.(string)
	}
	written := s.dialect.text.Write(s.schema, text)
	if len(text) < 2000 { // those with many rows do not come again
		s.texts.Store(text, written)
	}
	return written
}
