// Package schema has the SQL that makes a journal's tables. Its secret is how it is kept in
// files, one set for each database: <name>.sql makes the tables; <name>_realm.sql the views
// of a realm; <name>_routines.sql the procedures, if there are any that a dump of the tables
// may lack; <name>_2.sql and <name>_3.sql make a version of the one before;
// <name>_dependants.sql finds what others have made of tables; <name>_append.sql stores a change.
//
// Statements are separated by empty lines, and written as package sqltext takes them.
package schema

import (
	"cmp"
	"embed"
	"regexp"
	"strconv"
	"strings"
)

//go:embed *.sql
var files embed.FS

// Version is the schema's that these statements make.
const Version = 3

// Of is the statements of the database of this name.
type Of string

func (d Of) read(name string) []string {
	text, err := files.ReadFile(string(d) + name)
	if err != nil {
		panic("tracbus: " + err.Error()) // embedded with the program
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n\n")
}

// Tables returns what makes the tables.
func (d Of) Tables() []string { return d.read(".sql") }

// Marks returns what makes the table of package mark, if there is one: rows are in it within
// transactions alone, and so it can be made at any time.
func (d Of) Marks() string {
	for _, makes := range d.Tables() {
		if strings.Contains(makes, "{journal_mark}") {
			return makes
		}
	}
	return ""
}

// Routines returns what makes the procedures. It can be repeated.
func (d Of) Routines() []string {
	if d != "mysql" {
		return nil
	}
	return d.read("_routines.sql")
}

// HasBody says whether a procedure has a body, as a server shows it: empty if it may not be seen.
func (d Of) HasBody(body string) bool {
	words := func(text string) string { return strings.Join(strings.Fields(strings.ReplaceAll(text, "`", `"`)), " ") }
	return strings.Contains(words(strings.Join(d.Routines(), " ")), words(body))
}

// Views returns what makes the views of a realm.
func (d Of) Views(realm string) (statements []string) {
	for _, statement := range d.read("_realm.sql") {
		statements = append(statements, strings.ReplaceAll(statement, "REALM", realm))
	}
	return statements
}

// Append returns what stores the first change of a transaction, without its comment.
func (d Of) Append() string {
	_, text, _ := strings.Cut(d.read("_append.sql")[0], "\nINSERT")
	return "INSERT" + text
}

// Two returns what makes version 2 of version 1. It can be repeated.
func (d Of) Two() []string { return d.read("_2.sql") }

// Dependants returns what names that for which others need tables, in one value. It has marks
// for their schema, as many as it needs. The tables are the journal's, whose names have no quotes in them.
func (d Of) Dependants(tables []string) string {
	return strings.ReplaceAll(d.read("_dependants.sql")[0], "TABLES", "'"+strings.Join(tables, "', '")+"'")
}

// Step is the statements that make version 3 of version 2: those that try whether it can be made
// and change nothing, those that begin it, those that copy transactions, and those that end it.
type Step struct{ Try, Begin, copy, End []string }

// Three returns the step of a journal that has tables of these realms.
func (d Of) Three(realms []string) (st Step) {
	var counts []string
	for _, realm := range realms {
		counts = append(counts, "(SELECT count(*) FROM {"+realm+"_journal_2} x WHERE x.tid = t.tid)")
	}
	to := &st.Try
	for _, statement := range d.read("_3.sql") {
		switch {
		case strings.Contains(statement, "SET schema_version"):
			to = &st.Begin
		case strings.Contains(statement, "AFTER"):
			to = &st.copy
		case to == &st.copy:
			to = &st.End
		}
		statement = strings.ReplaceAll(statement, "COUNTS", cmp.Or(strings.Join(counts, " + "), "0"))
		switch {
		case !strings.Contains(statement, " "): // a table's name
			for _, makes := range d.Tables() {
				if strings.Contains(makes, statement) {
					*to = append(*to, makes)
				}
			}
		case strings.Contains(statement, "REALM"):
			for _, realm := range realms {
				*to = append(*to, strings.ReplaceAll(statement, "REALM", realm))
			}
		default:
			*to = append(*to, statement)
		}
	}
	return st
}

// Copies returns what copies the transactions after a tid, up to another.
func (st Step) Copies(after, upTo int64) (statements []string) {
	words := strings.NewReplacer("AFTER", strconv.FormatInt(after, 10), "UPTO", strconv.FormatInt(upTo, 10))
	for _, statement := range st.copy {
		statements = append(statements, words.Replace(statement))
	}
	return statements
}

var renamed = regexp.MustCompile(`^(?:--.*\n)*(?:ALTER|RENAME) TABLE \{(\w+)\}`)

// Renames returns the statements that begin the step, but for those whose table is renamed
// already: none if all are. table says whether there is a table of a name.
func (st Step) Renames(table func(name string) bool) (statements []string) {
	some := false
	for _, statement := range st.Begin {
		if name := renamed.FindStringSubmatch(statement); name != nil {
			if !table(name[1]) {
				continue
			}
			some = true
		}
		statements = append(statements, statement)
	}
	if !some {
		return nil
	}
	return statements
}
