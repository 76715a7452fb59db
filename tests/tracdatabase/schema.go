// Package tracdatabase gives tests the tables of Trac that this library writes or
// respects, and snapshots of them. The tables are as Trac 1.6 creates them
// (trac/db_default.py, schema version 45; the to_sql methods of
// trac/db/*_backend.py). Trac 1.0 (version 29) had a column ipnr in wiki, after
// author, and in attachment, at the end; MySQL's texts were "text" there. Only
// tests import it.
package tracdatabase

import (
	"fmt"
	"slices"
	"strings"
)

// table is a table of Trac's.
type table struct {
	name    string
	key     []string
	columns []column
	indexes []string // of one column each
}

type column struct{ name, kind string } // kind: text, int, int64 or auto

// Tables returns the names of the tables.
func Tables() (names []string) {
	for _, t := range tables() {
		names = append(names, t.name)
	}
	return names
}

// columns reads "id:auto time:int64 summary"; no kind means text.
func columns(s string) []column {
	var columns []column
	for word := range strings.FieldsSeq(s) {
		name, kind, found := strings.Cut(word, ":")
		if !found {
			kind = "text"
		}
		columns = append(columns, column{name, kind})
	}
	return columns
}

func tables() []table {
	return []table{
		{"system", []string{"name"}, columns("name value"), nil},
		{"cache", []string{"id"}, columns("id:int generation:int key"), nil},
		{
			"attachment", []string{"type", "id", "filename"},
			columns("type id filename size:int time:int64 description author"), nil,
		},
		{
			"wiki", []string{"name", "version"},
			columns("name version:int time:int64 author text comment readonly:int"), []string{"time"},
		},
		{
			"ticket", []string{"id"},
			columns(`id:auto type time:int64 changetime:int64 component severity priority owner reporter
				cc version milestone status resolution summary description keywords`), []string{"time", "status"},
		},
		{
			"ticket_change", []string{"ticket", "time", "field"},
			columns("ticket:int time:int64 author field oldvalue newvalue"), []string{"ticket", "time"},
		},
		{"ticket_custom", []string{"ticket", "name"}, columns("ticket:int name value"), nil},
		{"component", []string{"name"}, columns("name owner description"), nil},
		{"milestone", []string{"name"}, columns("name due:int64 completed:int64 description"), nil},
		{"version", []string{"name"}, columns("name time:int64 description"), nil},
	}
}

// Schema returns the statements that create the tables in the database's own
// schema. A dialect is sqlite, postgresql or mysql.
func Schema[D ~string](dialect D) []string {
	d := string(dialect)
	var statements []string
	for _, t := range tables() {
		statements = append(statements, t.create(d))
		for _, name := range t.indexes {
			statements = append(statements, fmt.Sprintf("CREATE INDEX %s ON %s (%s)",
				quoted(d, t.name+"_"+name+"_idx"), quoted(d, t.name), t.keyed(d, name)))
		}
	}
	return statements
}

func (t table) create(d string) string {
	var lines []string
	for _, c := range t.columns {
		line := quoted(d, c.name) + " " + typeOf(d, c.kind)
		if d != "mysql" && len(t.key) == 1 && c.name == t.key[0] {
			line += " PRIMARY KEY"
		}
		lines = append(lines, line)
	}
	key := t.keyed(d, t.key...)
	switch {
	case d == "mysql":
		lines = append(lines, "PRIMARY KEY ("+key+")")
	case len(t.key) > 1 && d == "sqlite":
		lines = append(lines, "UNIQUE ("+key+")") // not a PRIMARY KEY: Trac says it so
	case len(t.key) > 1:
		lines = append(lines, "CONSTRAINT "+quoted(d, t.name+"_pk")+" PRIMARY KEY ("+key+")")
	}
	end := ")"
	if d == "mysql" {
		end += " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin" // Trac asks this of the database
	}
	return "CREATE TABLE " + quoted(d, t.name) + " (\n    " + strings.Join(lines, ",\n    ") + "\n" + end
}

// keyed returns columns as a key names them. A key of MySQL holds 191
// characters of a text: 767 bytes by 4.
func (t table) keyed(d string, columns ...string) string {
	names := make([]string, len(columns))
	for i, name := range columns {
		names[i] = quoted(d, name)
		if d == "mysql" && slices.Contains(t.columns, column{name, "text"}) {
			names[i] += "(191)"
		}
	}
	return strings.Join(names, ",")
}

func quoted(d string, name string) string {
	switch d {
	case "postgresql":
		return `"` + name + `"`
	case "mysql":
		return "`" + name + "`"
	}
	return name
}

func typeOf(d string, kind string) string {
	types := map[string]map[string]string{
		"sqlite":     {"text": "text", "int": "integer", "int64": "integer", "auto": "integer"},
		"postgresql": {"text": "text", "int": "int", "int64": "bigint", "auto": "SERIAL"},
		"mysql":      {"text": "mediumtext", "int": "int", "int64": "bigint", "auto": "INT UNSIGNED NOT NULL AUTO_INCREMENT"},
	}
	return types[d][kind]
}
