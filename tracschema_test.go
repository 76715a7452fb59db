package tracbus

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The tables of Trac that this library writes or respects, as Trac 1.6 creates
// them (trac/db_default.py, schema version 45; the to_sql methods of
// trac/db/*_backend.py). Trac 1.0 (version 29) had a column ipnr in wiki, after
// author, and in attachment, at the end; MySQL's texts were "text" there.

type tracTable struct {
	name    string
	key     []string
	columns []tracColumn
	indexes []string // of one column each
}

type tracColumn struct{ name, kind string } // kind: text, int, int64 or auto

// tracColumns reads "id:auto time:int64 summary"; no kind means text.
func tracColumns(s string) []tracColumn {
	var columns []tracColumn
	for word := range strings.FieldsSeq(s) {
		name, kind, found := strings.Cut(word, ":")
		if !found {
			kind = "text"
		}
		columns = append(columns, tracColumn{name, kind})
	}
	return columns
}

func tracTables() []tracTable {
	return []tracTable{
		{"system", []string{"name"}, tracColumns("name value"), nil},
		{"cache", []string{"id"}, tracColumns("id:int generation:int key"), nil},
		{
			"attachment", []string{"type", "id", "filename"},
			tracColumns("type id filename size:int time:int64 description author"), nil,
		},
		{
			"wiki", []string{"name", "version"},
			tracColumns("name version:int time:int64 author text comment readonly:int"), []string{"time"},
		},
		{
			"ticket", []string{"id"},
			tracColumns(`id:auto type time:int64 changetime:int64 component severity priority owner reporter
				cc version milestone status resolution summary description keywords`), []string{"time", "status"},
		},
		{
			"ticket_change", []string{"ticket", "time", "field"},
			tracColumns("ticket:int time:int64 author field oldvalue newvalue"), []string{"ticket", "time"},
		},
		{"ticket_custom", []string{"ticket", "name"}, tracColumns("ticket:int name value"), nil},
	}
}

// tracSchema returns the statements that create Trac's tables in the database's
// own schema. A dialect is sqlite, postgresql or mysql.
func tracSchema[D ~string](dialect D) []string {
	d := string(dialect)
	var statements []string
	for _, t := range tracTables() {
		statements = append(statements, t.create(d))
		for _, column := range t.indexes {
			statements = append(statements, fmt.Sprintf("CREATE INDEX %s ON %s (%s)",
				tracName(d, t.name+"_"+column+"_idx"), tracName(d, t.name), t.keyed(d, column)))
		}
	}
	return statements
}

func (t tracTable) create(d string) string {
	var lines []string
	for _, c := range t.columns {
		line := tracName(d, c.name) + " " + tracType(d, c.kind)
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
		lines = append(lines, "CONSTRAINT "+tracName(d, t.name+"_pk")+" PRIMARY KEY ("+key+")")
	}
	end := ")"
	if d == "mysql" {
		end += " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin" // Trac asks this of the database
	}
	return "CREATE TABLE " + tracName(d, t.name) + " (\n    " + strings.Join(lines, ",\n    ") + "\n" + end
}

// keyed returns columns as a key names them. A key of MySQL holds 191
// characters of a text: 767 bytes by 4.
func (t tracTable) keyed(d string, columns ...string) string {
	names := make([]string, len(columns))
	for i, column := range columns {
		names[i] = tracName(d, column)
		if d == "mysql" && slices.Contains(t.columns, tracColumn{column, "text"}) {
			names[i] += "(191)"
		}
	}
	return strings.Join(names, ",")
}

func tracName(d string, name string) string {
	switch d {
	case "postgresql":
		return `"` + name + `"`
	case "mysql":
		return "`" + name + "`"
	}
	return name
}

func tracType(d string, kind string) string {
	types := map[string]map[string]string{
		"sqlite":     {"text": "text", "int": "integer", "int64": "integer", "auto": "integer"},
		"postgresql": {"text": "text", "int": "int", "int64": "bigint", "auto": "SERIAL"},
		"mysql":      {"text": "mediumtext", "int": "int", "int64": "bigint", "auto": "INT UNSIGNED NOT NULL AUTO_INCREMENT"},
	}
	return types[d][kind]
}

func TestTracSchemaIsWhatTracCreates(t *testing.T) {
	for d, want := range map[string][]string{
		"sqlite": {
			"CREATE TABLE ticket_change (\n    ticket integer,\n    time integer,\n    author text,\n    field text,\n" +
				"    oldvalue text,\n    newvalue text,\n    UNIQUE (ticket,time,field)\n)",
			"CREATE TABLE cache (\n    id integer PRIMARY KEY,\n    generation integer,\n    key text\n)",
		},
		"postgresql": {
			"CREATE TABLE \"ticket_custom\" (\n    \"ticket\" int,\n    \"name\" text,\n    \"value\" text,\n" +
				"    CONSTRAINT \"ticket_custom_pk\" PRIMARY KEY (\"ticket\",\"name\")\n)",
			"CREATE INDEX \"ticket_status_idx\" ON \"ticket\" (\"status\")",
		},
		"mysql": {
			"CREATE TABLE `wiki` (\n    `name` mediumtext,\n    `version` int,\n    `time` bigint,\n    `author` mediumtext,\n" +
				"    `text` mediumtext,\n    `comment` mediumtext,\n    `readonly` int,\n" +
				"    PRIMARY KEY (`name`(191),`version`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
			"CREATE INDEX `ticket_status_idx` ON `ticket` (`status`(191))",
		},
	} {
		for _, statement := range want {
			assert.Contains(t, tracSchema(d), statement, "%s", d)
		}
	}
}
