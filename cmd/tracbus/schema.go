package main

import (
	"context"
	"flag"
	"io"
	"slices"
	"strings"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac"
)

const schemaUsage = `usage: tracbus schema [-trac DIR | -dialect DIALECT [-schema NAME]] [FLAG...]

Prints the SQL that "tracbus relay -install" runs, for those who migrate by hand: the
journal's tables, then what captures Trac's changes. It connects to nothing. The output is
for the database's own client: psql, mysql or sqlite3.

  -trac DIR           take dialect and schema from this environment (default $TRAC_ENV)
  -dialect DIALECT    sqlite, postgresql or mysql (MariaDB too)
  -schema NAME        of Trac's tables (default the connection's own, on PostgreSQL public)
  -part PART          all (default), journal, capture, uninstall (what drops the capture),
                      or upgrade (a journal of schema_version 2)
  -json               one line of JSON: dialect, schema, part, statements

  tracbus schema -dialect postgresql | psql -1 -v ON_ERROR_STOP=1 trac
  tracbus schema -dialect mysql | mysql trac
`

// schema prints SQL.
type schema struct {
	site            site
	dialect, schema string
	part            string
	json            bool
}

func schemaCommand() command {
	return command{"schema", "print the SQL that -install runs", schemaUsage, func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		c := &schema{}
		c.site.flag(flags)
		flags.StringVar(&c.dialect, "dialect", "", "")
		flags.StringVar(&c.schema, "schema", "", "")
		flags.StringVar(&c.part, "part", "all", "")
		flags.BoolVar(&c.json, "json", false, "")
		return c.run
	}}
}

func (c *schema) run(_ context.Context, t *terminal, words []string) error {
	if len(words) > 0 {
		return usageError("schema: want flags only")
	}
	dialects := []string{string(tracbus.SQLite), string(tracbus.PostgreSQL), string(tracbus.MySQL)}
	switch {
	case c.dialect != "" && !slices.Contains(dialects, c.dialect):
		return usageError("-dialect: want " + strings.Join(dialects, ", "))
	case c.dialect == "" && c.site.path == "":
		return usageError("schema: want -trac or -dialect")
	case c.dialect == "" && c.schema != "":
		return usageError("-schema is for -dialect")
	}
	if c.dialect == "" {
		env, err := c.site.load(t)
		if err != nil {
			return err
		}
		database, err := env.Database()
		if err != nil {
			return err
		}
		c.dialect, c.schema = string(database.Dialect), database.Schema
	}
	if c.schema == "" && c.dialect == string(tracbus.PostgreSQL) {
		c.schema = "public" // triggers name it
	}
	statements, err := c.statements()
	if err != nil {
		return err
	}
	if c.json {
		return t.printJSON(map[string]any{"dialect": c.dialect, "schema": c.schema, "part": c.part, "statements": statements})
	}
	_, err = io.WriteString(t.out, c.script(statements))
	return err
}

// statements are the SQL of the part, without semicolons at their ends.
func (c *schema) statements() ([]string, error) {
	dialect := tracbus.Dialect(c.dialect)
	install, uninstall, err := trac.CaptureSchema(dialect, c.schema)
	if err != nil {
		return nil, err
	}
	var text string
	switch c.part {
	case "all", "journal":
		if text, err = tracbus.JournalSchema(dialect, c.schema, realmNames()...); c.part == "all" {
			text += "\n\n" + install
		}
	case "capture":
		text = install
	case "uninstall":
		text = uninstall
	case "upgrade":
		text, err = tracbus.JournalUpgrade(dialect, c.schema, realmNames()...)
	default:
		err = usageError("-part: want all, journal, capture, uninstall or upgrade")
	}
	var all []string
	for s := range strings.SplitSeq(text, "\n\n") {
		if s = strings.TrimRight(s, "; \n"); s != "" {
			all = append(all, strings.TrimLeft(s, "\n"))
		}
	}
	return all, err
}

// script is statements as the database's own client reads them: psql, sqlite3 or mysql.
func (c *schema) script(statements []string) string {
	end, head, tail := ";\n\n", "", ""
	if c.dialect == string(tracbus.MySQL) { // statements have semicolons within
		end, head, tail = "\n//\n\n", "DELIMITER //\n\n", "DELIMITER ;\n"
	}
	return head + strings.Join(statements, end) + end + tail
}
