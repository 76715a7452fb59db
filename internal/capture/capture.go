// Package capture takes down what others write to tables that a journal is about, in their own
// transactions, and hands it to the journal. Its secret is the triggers, the table that they
// fill, and how the library's own writes pass by them.
//
// The table is journal_inbox: a row for each row that was inserted or deleted, and for each
// column that was changed. It is a queue without an end that is known: who takes rows in
// deletes those that it has read, by their numbers. The rows of one resource have the order of
// its commits if whoever writes it locks its row first, as Trac does.
package capture

import "time"

// Table says how a table is captured.
type Table struct {
	Name  string // of the table
	Realm string // of what its rows are about
	Code  string // stands for the table in the inbox: one letter

	// ID are the columns that say which resource a row is about: its id, or the parts of it,
	// which slashes join. In the last part / is %2F, and % is %25.
	ID []string

	// At is the column whose number goes along with each row; empty: none.
	At string

	// Field and Author are the columns whose texts go along; empty: none.
	Field, Author string

	// Old and New are the columns whose texts go along with a row that is inserted or
	// deleted, in the place of one row for each of Values.
	Old, New string

	// Values are the columns whose changes are captured, and which go along with a row that is
	// deleted.
	Values []string

	// Numbers are those of all columns that are numbers.
	Numbers []string

	// OneByOne says that its columns are mostly updated one by one.
	OneByOne bool

	// Locked says that who writes a resource locks this table's row of it first.
	Locked bool

	// Only is a condition on the rows that are captured when they are inserted, with ROW for
	// the row; empty: all are.
	Only string
}

// What was done to a row.
const (
	Inserted = "i"
	Updated  = "u"
	Deleted  = "d"
	// Moved is what an update that gave a row to another resource is for that one. For the
	// first it is Updated, in the number before, with the same Old and New: the two ids.
	Moved = "m"
)

// IDField is the Field of a row that says that a row was given to another resource.
const IDField = "="

// Row is a row of the inbox.
type Row struct {
	N      int64
	Code   string // of the table
	Op     string
	ID     string
	At     int64
	Field  string
	Author *string // nil: null
	Old    *string
	New    *string
	Stamp  time.Time // when the statement was run that wrote it, by the database's clock
	Run    int64     // tells statements of one moment apart
}

// With says whether two rows were written by one statement.
func (r Row) With(other Row) bool { return r.Stamp.Equal(other.Stamp) && r.Run == other.Run }

// Spec says what is captured.
type Spec struct {
	Tables  []Table
	Install bool // make what is missing
	Notify  bool // PostgreSQL sends a notification when something waits
}

// of returns the tables of some realms.
func (s Spec) of(realms []string) (tables []Table) {
	for _, t := range s.Tables {
		for _, r := range realms {
			if t.Realm == r {
				tables = append(tables, t)
			}
		}
	}
	return tables
}

// codes returns the letters of a realm's tables.
func (s Spec) codes(realm string) (codes []any) {
	for _, t := range s.Tables {
		if t.Realm == realm {
			codes = append(codes, t.Code)
		}
	}
	return codes
}

// realmOf returns the realm of a table's letter.
func (s Spec) realmOf(code string) string {
	for _, t := range s.Tables {
		if t.Code == code {
			return t.Realm
		}
	}
	return ""
}
