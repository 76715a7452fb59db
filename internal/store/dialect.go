package store

import (
	"cmp"
	"context"
	"strings"

	"github.com/tracbus/tracbus/internal/sqltext"
)

// dialect is one database: a row of data, and the few functions that really
// differ. The rows are in sqlite.go, postgresql.go and mysql.go.
//
// To add a database, write its row with its functions in a file of its own, a
// row of package sqltext that says how it writes a statement, and its files in
// schema/, see that package; then add the row to
// dialects. TestDialects says what is missing. What it has to give is an order:
// tids that follow the commits, and a reader that knows which tids are decided.
// Each row says how its database does that.
type dialect struct {
	text  *sqltext.Dialect // its name, and how it writes a statement
	title string           // its name as people write it

	schemas   bool // tables are in a schema that has a name
	oneWriter bool // a transaction excludes all other writers from its BEGIN on; Watch.Changed and beginFails use means of SQLite for it
	lingers   bool // a statement that waits for a lock waits on after its connection is gone, and keeps the locks that it has
	gapless   bool // what comes after a tid that is missing is not decided
	txDDL     bool // a transaction can create tables
	chains    bool // one that another is chained to does not show it: see package chain

	begin    []string // begins a transaction that writes
	snapshot []string // begins one that reads as of one moment

	arrays bool // a value can be one

	// stillOpen fails if the transaction that begin began was ended by the
	// server or by the application's own statements: what comes next would be
	// stored without it. Empty if oneWriter.
	stillOpen string

	// checksOnAppend says that append fails if the transaction has ended.
	checksOnAppend bool

	// lock locks a slot until the commit. Not called if oneWriter.
	lock func(s *Store, ctx context.Context, q SQL, slot int64) error

	// counter asks for the last tid that was taken, or for one above which the database
	// keeps what comes next. setCounter sets it, where it can be another than the tables'.
	counter    string
	setCounter func(s *Store, ctx context.Context, q SQL, tid int64) error

	// append locks slots, takes a tid and writes rows; see [Store.Append]. It
	// returns ErrCounter, wrapped, if the tid is not above all that were taken.
	append func(s *Store, ctx context.Context, q SQL, slots []int64, rows [][]any, end bool) (tid int64, committed bool, err error)

	// bound returns a tid up to which transactions may be read. decided returns
	// a tid up to which every transaction has ended and is seen.
	bound, decided func(s *Store, ctx context.Context, q SQL) (tid int64, err error)

	// find is [Store.Find].
	find func(s *Store, ctx context.Context, commitID string, tid, above int64, session Session) (found int64, landed bool, err error)

	// answered says whether an error is the database's own word on a statement,
	// and not the lack of one.
	answered func(err error) bool

	// status fills in Head and Blockers.
	status func(s *Store, ctx context.Context, st Status) (Status, error)

	// check refuses a database that would break the journal's promises in
	// silence. checkTables refuses a journal without what is no table, or no
	// table's structure, and without which writers would not wait for each
	// other, or fail.
	check, checkTables func(s *Store, ctx context.Context) error

	inSchema   string   // where statements look for tables if no schema has a name
	ownTables  []string // that no other database has
	routines   []string // procedures, which a dump of the tables may lack
	schemaName string   // asks for the schema that is used if none is named
	tables     string   // asks which tables there are in a schema, of those in a list that follows, and which of them are views

	// migrating lets one migration at a time run in a schema, until its transaction
	// ends or, if there is one, the statement migrated. Empty if BEGIN does that.
	migrating, migrated string
}

// dialects are all databases.
var dialects = []*dialect{sqlite, postgresql, mysql}

// dialectOf returns the dialect of a name, or nil.
func dialectOf(name string) *dialect {
	for _, d := range dialects {
		if d.text.Name == name {
			return d
		}
	}
	return nil
}

// names returns the names of all dialects, as an error says them.
func names() string {
	all := make([]string, len(dialects))
	for i, d := range dialects {
		all[i] = d.text.Name
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " or " + all[last]
}

// unbounded is above every tid.
const unbounded = 1 << 48

// noBound is bound and decided of a database of which every reader sees all that
// is committed before it sees what is committed later.
func noBound(*Store, context.Context, SQL) (int64, error) { return unbounded, nil }

// SQL writes a statement of this library in the database's words, as
// [sqltext.Dialect.Write] says.
func (s *Store) SQL(text string) string {
	if known, ok := s.texts.Load(text); ok {
		return known.(string)
	}
	written := s.dialect.text.Write(cmp.Or(s.schema, s.dialect.inSchema), text)
	if len(text) < 4000 && s.known.Add(1) <= 1000 { // those with many rows or names do not come again
		s.texts.Store(text, written)
	}
	return written
}
