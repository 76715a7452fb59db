package store

import (
	"strconv"
	"strings"
)

// Dialect is one database's way to say what all of them can do: a row of data.
type Dialect struct {
	Name string

	quote     string // stands round a name
	numbered  bool   // marks are $1, $2 and not ?
	lockRows  string // ends a SELECT whose rows are locked until the commit
	returning bool   // an INSERT returns the new id as a row, not with its result
	noNUL     bool   // texts cannot hold U+0000
	oneWriter bool   // a transaction excludes all other writers from its BEGIN on
	prefix    bool   // tids have no gaps; what stands behind one is not decided
	txDDL     bool   // a transaction can create tables

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

	now      string // the clock, in microseconds since 1970
	greatest string // the function that takes the greater of two
	orIsIt   string // ends an INSERT of a row that may be there already

	schemaName string // asks for the schema that is used where none is named
	hasTable   string // counts tables, with marks for schema and name
	migrating  string // lets one migration at a time run, until its transaction ends
}

var dialects = map[string]*Dialect{
	"postgresql": {
		Name: "postgresql", quote: `"`, numbered: true, lockRows: "FOR UPDATE", returning: true, noNUL: true, txDDL: true,

		begin:    []string{"BEGIN ISOLATION LEVEL READ COMMITTED"},
		snapshot: []string{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
		stands:   "SELECT 1", // an error before makes every statement fail
		lock:     "SELECT now()::text FROM pg_advisory_xact_lock(CAST(? AS integer), CAST(? AS integer))",

		// The function takes the shared lock, then the tid: in that order, as
		// two statements. A reader that sees no lock below a tid knows that
		// every transaction up to it has ended.
		allocate: []string{"SELECT {journal_allocate}(?, ?, ?) AS tid"},
		tid:      "(SELECT tid FROM t)",

		now:      "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
		greatest: "greatest",
		orIsIt:   "ON CONFLICT DO NOTHING",

		schemaName: "SELECT coalesce(current_schema(), '')",
		hasTable:   "SELECT count(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
		migrating:  "SELECT pg_advisory_xact_lock(7074, 1)",
	},
	"mysql": {
		Name: "mysql", quote: "`", lockRows: "FOR UPDATE", prefix: true,

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

		now:      "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))", // of no time zone
		greatest: "greatest",
		orIsIt:   "ON DUPLICATE KEY UPDATE name = name", // IGNORE would pass over more

		schemaName: "SELECT coalesce(database(), '')",
		hasTable:   "SELECT count(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
	},
	"sqlite": {
		Name: "sqlite", quote: `"`, oneWriter: true, txDDL: true,

		begin:    []string{"BEGIN IMMEDIATE"},
		snapshot: []string{"BEGIN"},

		// One transaction writes at a time, so tids follow the commits.
		allocate: []string{"INSERT INTO {journal_transaction} (mark, origin, realms) VALUES (?, ?, ?)"},
		tid:      "?",

		now:      "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)", // to a millisecond
		greatest: "max",
		orIsIt:   "ON CONFLICT DO NOTHING",

		schemaName: "SELECT ''",
		hasTable:   "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND ? = '' AND name = ?",
	},
}

// SQL writes a statement of this library in the database's words. Its text has
// a ? for each value, {name} for a table or function of the schema, "name" for a
// name that is also a word of SQL, and the words {FOR UPDATE}, {NOW}, {GREATEST}
// and {OR IS IT}.
func (s *Store) SQL(text string) string {
	if known, ok := s.texts.Load(text); ok {
		return known.(string)
	}
	written := s.dialect.write(s.schema, text)
	if len(text) < 2000 { // those with many rows do not come again
		s.texts.Store(text, written)
	}
	return written
}

func (d *Dialect) write(schema, text string) string {
	var b strings.Builder
	marks := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '?' && d.numbered:
			marks++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(marks))
		case c == '"':
			b.WriteString(d.quote)
		case c == '{':
			end := i + strings.IndexByte(text[i:], '}')
			d.writeName(&b, schema, text[i+1:end])
			i = end
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (d *Dialect) writeName(b *strings.Builder, schema, name string) {
	switch {
	case name == "FOR UPDATE":
		b.WriteString(d.lockRows)
	case name == "NOW":
		b.WriteString(d.now)
	case name == "GREATEST":
		b.WriteString(d.greatest)
	case name == "OR IS IT":
		b.WriteString(d.orIsIt)
	case schema == "":
		b.WriteString(name)
	default:
		b.WriteString(d.quote + schema + d.quote + "." + name)
	}
}
