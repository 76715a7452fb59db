// Package sqltext writes one statement in the words of three databases, and
// knows what their drivers' errors mean. Its secret is how SQLite, PostgreSQL
// and MySQL differ in what every statement needs: quotes, marks, locking rows,
// the id of a new row. It knows no table.
package sqltext

import (
	"strconv"
	"strings"
)

// Dialect is how one database writes what all of them can do: a row of data.
type Dialect struct {
	Name string // sqlite, postgresql or mysql

	Quote     string // on both sides of a name
	Numbered  bool   // marks are $1, $2 and not ?
	LockRows  string // ends a SELECT whose rows stay locked until the commit
	Returning bool   // an INSERT returns the new id as a row, not with its result
	NoNUL     bool   // texts cannot hold U+0000
	NoLimit   string // ends a SELECT that reads all rows, whatever the session has set; empty if nothing can be set
	Bytes     string // a text %s as the bytes of UTF-8, whatever the session has set

	Now      string // the clock, in microseconds since 1970
	Greatest string // the function that returns the greater of two
	OrIsIt   string // ends an INSERT of a row that may exist already, in a table with the column name
	OrUpdate string // goes before what an INSERT sets instead in a row that has its id already

	// HasTable returns whether the table TABLE exists. On MySQL it fails if not,
	// see [IsNoTable]: a statement that fails does no harm there. On PostgreSQL it
	// would end the transaction.
	HasTable string
}

var dialects = map[string]*Dialect{
	"postgresql": {
		Name: "postgresql", Quote: `"`, Numbered: true, LockRows: "FOR UPDATE", Returning: true, NoNUL: true,
		Bytes:    "convert_to(%s, 'UTF8')",
		Now:      "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
		Greatest: "greatest",
		OrIsIt:   "ON CONFLICT DO NOTHING",
		OrUpdate: "ON CONFLICT (id) DO UPDATE SET",
		HasTable: "SELECT to_regclass('{TABLE}') IS NOT NULL",
	},
	"mysql": {
		Name: "mysql", Quote: "`", LockRows: "FOR UPDATE",
		NoLimit:  " LIMIT 18446744073709551615",
		Bytes:    "CAST(%s AS BINARY)",
		Now:      "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))", // of no time zone
		Greatest: "greatest",
		OrIsIt:   "ON DUPLICATE KEY UPDATE name = name", // IGNORE would pass over more
		OrUpdate: "ON DUPLICATE KEY UPDATE",
		HasTable: "SELECT COUNT(*) >= 0 FROM {TABLE} WHERE 1 = 0",
	},
	"sqlite": {
		Name: "sqlite", Quote: `"`,
		Bytes:    "%s",
		Now:      "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)", // to a millisecond
		Greatest: "max",
		OrIsIt:   "ON CONFLICT DO NOTHING",
		OrUpdate: "ON CONFLICT (id) DO UPDATE SET",
		HasTable: "SELECT COUNT(*) > 0 FROM pragma_table_info('{TABLE}')",
	},
}

// Of returns the dialect sqlite, postgresql or mysql, and nil for another name.
func Of(name string) *Dialect { return dialects[name] }

// Write writes a statement in the database's words, with its tables in a schema;
// an empty one means that none is named. The text has a ? for each value, {name}
// for a table or function of the schema, "name" for a name that is also a word
// of SQL, and the words {FOR UPDATE}, {NOW}, {GREATEST}, {OR IS IT}, {OR UPDATE} and
// {BYTES column}. A SELECT without a LIMIT reads all rows.
func (d *Dialect) Write(schema, text string) string {
	text = d.unlimited(text)
	var b strings.Builder
	b.Grow(len(text) + 64)
	marks := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '?' && d.Numbered:
			marks++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(marks))
		case c == '"':
			b.WriteString(d.Quote)
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

// unlimited ends a SELECT with NoLimit, before what locks its rows.
func (d *Dialect) unlimited(text string) string {
	if d.NoLimit == "" || !strings.HasPrefix(text, "SELECT ") {
		return text
	}
	end := len(text)
	for _, lock := range []string{" {FOR UPDATE}", " FOR UPDATE"} {
		if i := strings.LastIndex(text, lock); i >= 0 {
			end = i
		}
	}
	if strings.LastIndex(text[:end], " LIMIT ") > strings.LastIndexByte(text[:end], ')') {
		return text
	}
	return text[:end] + d.NoLimit + text[end:]
}

func (d *Dialect) writeName(b *strings.Builder, schema, name string) {
	switch {
	case name == "FOR UPDATE":
		b.WriteString(d.LockRows)
	case name == "NOW":
		b.WriteString(d.Now)
	case name == "GREATEST":
		b.WriteString(d.Greatest)
	case name == "OR IS IT":
		b.WriteString(d.OrIsIt)
	case name == "OR UPDATE":
		b.WriteString(d.OrUpdate)
	case strings.HasPrefix(name, "BYTES "):
		b.WriteString(strings.ReplaceAll(d.Bytes, "%s", name[len("BYTES "):]))
	case schema == "":
		b.WriteString(name)
	default:
		b.WriteString(d.Quote + schema + d.Quote + "." + name)
	}
}
