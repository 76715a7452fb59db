package capture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tracbus/tracbus/internal/sqltext"
)

// made is one thing that captures: a trigger, with the function that it calls if the
// database wants one.
type made struct {
	name     string
	table    string
	function string // makes the function; empty: none
	trigger  string // makes the trigger
	body     string // what the database shows of it
	when     int    // of PostgreSQL: after which statements it is called, as pg_trigger says it
}

// words is how one database writes what captures.
type words struct {
	inbox  []string // makes the tables
	drops  []string // drops them, the inbox last
	text   string   // a number as a text
	differ string   // two texts differ
	stamp  string   // when the statement began, in microseconds since 1970
	run    string   // tells statements of one moment apart, with n; empty: moments are fine enough
	equal  string   // two texts are equal
	joins  string   // joins two texts
	called string   // a function that every database has
	shape  func(w *words, schema string, t Table, event, column string, statements []string) made
}

var dialects = map[string]*words{
	"sqlite": {
		inbox: []string{
			`CREATE TABLE {journal_inbox} (
	n      INTEGER PRIMARY KEY,
	tbl    TEXT    NOT NULL, -- stands for the table
	op     TEXT    NOT NULL, -- i: inserted, u: updated, d: deleted, m: moved
	id     TEXT    NOT NULL, -- of the resource
	at     INTEGER NOT NULL,
	field  TEXT,
	author TEXT,
	old    TEXT,
	new    TEXT,
	stamp  INTEGER NOT NULL, -- when the statement began, in microseconds since 1970
	run    INTEGER NOT NULL  -- changes of the connection so far: rises by one, with n, within a statement, and by more after it
)`,
			`CREATE INDEX journal_inbox_id ON {journal_inbox} (id)`,
			`CREATE TABLE {journal_capture} (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	holder  TEXT    NOT NULL, -- who takes in what the inbox has; empty: nobody
	expires INTEGER NOT NULL, -- microseconds since 1970, by the clock of the database
	own     INTEGER NOT NULL  -- 1: what is written now is the library's own; never seen after a commit
)`,
			`INSERT INTO {journal_capture} VALUES (1, '', 0, 0)`,
		},
		drops:  []string{"DROP TABLE IF EXISTS {journal_capture}", "DROP TABLE IF EXISTS {journal_inbox}"},
		text:   "CAST(%s AS TEXT)",
		differ: "%[1]s IS NOT %[2]s",
		equal:  "%s = %s",
		joins:  " || ",
		stamp:  "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)", // in steps of a millisecond
		run:    "total_changes()",
		shape:  shapeSQLite,
	},
	"postgresql": {
		inbox: []string{
			`CREATE TABLE {journal_inbox} (
	n      bigint GENERATED ALWAYS AS IDENTITY,
	tbl    text   NOT NULL, -- stands for the table
	op     text   NOT NULL, -- i: inserted, u: updated, d: deleted, m: moved
	id     text   NOT NULL, -- of the resource
	at     bigint NOT NULL,
	field  text,
	author text,
	old    text,
	new    text,
	stamp  timestamptz NOT NULL DEFAULT statement_timestamp()
)`,
			`CREATE INDEX journal_inbox_id ON {journal_inbox} USING hash (id)`, // which takes an id of any length
			`CREATE TABLE {journal_capture} (
	one     integer PRIMARY KEY CHECK (one = 1),
	holder  text    NOT NULL, -- who takes in what the inbox has; empty: nobody
	expires bigint  NOT NULL  -- microseconds since 1970, by the clock of the database
)`,
			`INSERT INTO {journal_capture} VALUES (1, '', 0)`,
		},
		drops: []string{"DROP TABLE IF EXISTS {journal_capture}", "DROP TABLE IF EXISTS {journal_inbox}"},
		// The functions have no search_path of their own, which takes as long as all else they do: so
		// what they name is qualified, because they have more rights than who calls them.
		text:   "(%s)::pg_catalog.text",
		differ: "(%[1]s OPERATOR(pg_catalog.=) %[2]s) IS NOT TRUE AND (%[1]s IS NOT NULL OR %[2]s IS NOT NULL)",
		equal:  "%s OPERATOR(pg_catalog.=) %s",
		joins:  " OPERATOR(pg_catalog.||) ",
		called: "pg_catalog.",
		shape:  shapePostgreSQL,
	},
	"mysql": {
		inbox: []string{
			`CREATE TABLE IF NOT EXISTS {journal_inbox} (
	n      BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	tbl    CHAR(1) CHARACTER SET ascii NOT NULL, -- stands for the table
	op     CHAR(1) CHARACTER SET ascii NOT NULL, -- i: inserted, u: updated, d: deleted, m: moved
	id     LONGBLOB NOT NULL, -- of the resource
	at     BIGINT NOT NULL,
	field  LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
	author LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
	old    LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
	new    LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
	stamp  BIGINT NOT NULL, -- when the statement began, in microseconds since 1970
	INDEX (id(100))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
			// A transaction that an application began has a row here, as long as it is open.
			`CREATE TABLE IF NOT EXISTS {journal_own} (
	token VARBINARY(64) NOT NULL PRIMARY KEY
) ENGINE = InnoDB`,
			`CREATE TABLE IF NOT EXISTS {journal_capture} (
	one     INTEGER        NOT NULL PRIMARY KEY,
	holder  VARBINARY(200) NOT NULL, -- who takes in what the inbox has; empty: nobody
	expires BIGINT         NOT NULL  -- microseconds since 1970, by the clock of the database
) ENGINE = InnoDB`,
			`INSERT IGNORE INTO {journal_capture} VALUES (1, '', 0)`,
		},
		drops:  []string{"DROP TABLE IF EXISTS {journal_capture}", "DROP TABLE IF EXISTS {journal_own}", "DROP TABLE IF EXISTS {journal_inbox}"},
		text:   "CAST(%s AS CHAR)",
		equal:  "%s = %s",
		differ: "NOT (CAST(%[1]s AS BINARY) <=> CAST(%[2]s AS BINARY))", // a collation takes 'a ' for 'a'
		stamp:  "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
		shape:  shapeMySQL,
	},
}

// value returns a column of a row as a text.
func (w *words) value(t Table, row, column string) string {
	v := row + `."` + column + `"`
	if slices.Contains(t.Numbers, column) {
		return fmt.Sprintf(w.text, v)
	}
	return v
}

// id returns what names the resource of a row.
func (w *words) id(t Table, row string) string {
	last := len(t.ID) - 1
	text := w.part(t, row, t.ID[last])
	if last > 0 { // see realms.AttachmentResource
		text = w.called + "replace(" + w.called + "replace(" + text + ", '%', '%25'), '/', '%2F')"
	}
	for _, column := range slices.Backward(t.ID[:last]) {
		text = w.join(w.part(t, row, column), "'/'", text)
	}
	return text
}

// part returns a column of an id. On SQLite a key may have anything in it, and also NULL.
func (w *words) part(t Table, row, column string) string {
	if w == dialects["sqlite"] {
		return "coalesce(CAST(" + row + `."` + column + `" AS TEXT), '')`
	}
	return w.value(t, row, column)
}

func (w *words) join(texts ...string) string {
	if w == dialects["mysql"] {
		return "concat(" + strings.Join(texts, ", ") + ")"
	}
	return strings.Join(texts, w.joins)
}

// utf8 returns a text whose bytes are to be UTF-8.
func (w *words) utf8(text string) string {
	if w == dialects["mysql"] {
		return "CONVERT(" + text + " USING utf8mb4)"
	}
	return text
}

// insert returns an INSERT of a row into the inbox.
func (w *words) insert(t Table, row, op, id, field, author, before, after string) string {
	at := "0"
	if t.At != "" {
		at = "coalesce(" + row + `."` + t.At + `", 0)`
		if w == dialects["sqlite"] { // where a column of numbers may have anything in it
			at = "CAST(" + at + " AS INTEGER)"
		}
	}
	columns, stamp := "tbl, op, id, at, field, author, old, new", ""
	if w.stamp != "" {
		columns, stamp = columns+", stamp", ", "+w.stamp
	}
	if w.run != "" {
		columns, stamp = columns+", run", stamp+", "+w.run
	}
	return fmt.Sprintf("INSERT INTO {journal_inbox} (%s) SELECT '%s', '%s', %s, %s, %s, %s, %s, %s%s",
		columns, t.Code, op, w.utf8(id), at, field, author, before, after, stamp)
}

// values returns a column, or null if the table has no such.
func (w *words) valueOr(t Table, row, column string) string {
	if column == "" {
		return "NULL"
	}
	return w.value(t, row, column)
}

// inserted is what is done after a row was inserted.
func (w *words) inserted(t Table) []string {
	return []string{w.insert(t, "NEW", Inserted, w.id(t, "NEW"), w.valueOr(t, "NEW", t.Field), w.valueOr(t, "NEW", t.Author), w.valueOr(t, "NEW", t.Old), w.valueOr(t, "NEW", t.New))}
}

// updated is what is done after a row was updated, and the condition of it, for each of the columns.
func (w *words) updated(t Table) (columns, conditions []string, statements [][]string) {
	add := func(column, condition string, do ...string) {
		columns, conditions, statements = append(columns, column), append(conditions, condition), append(statements, do)
	}
	differs := func(column string) string {
		return fmt.Sprintf(w.differ, `OLD."`+column+`"`, `NEW."`+column+`"`)
	}
	var moved []string
	for _, column := range t.ID {
		moved = append(moved, differs(column))
	}
	before, after := w.id(t, "OLD"), w.id(t, "NEW")
	add(strings.Join(quoted(t.ID), ", "), strings.Join(moved, " OR "),
		w.insert(t, "NEW", Updated, before, "'"+IDField+"'", "NULL", before, after),
		w.insert(t, "NEW", Moved, after, "'"+IDField+"'", "NULL", before, after))
	if t.New != "" {
		add(`"`+t.New+`"`, differs(t.New),
			w.insert(t, "NEW", Updated, after, w.valueOr(t, "NEW", t.Field), w.valueOr(t, "NEW", t.Author), w.value(t, "OLD", t.New), w.value(t, "NEW", t.New)))
	}
	for _, column := range t.Values {
		add(`"`+column+`"`, differs(column), w.insert(t, "NEW", Updated, after, "'"+column+"'", "NULL", w.value(t, "OLD", column), w.value(t, "NEW", column)))
	}
	return columns, conditions, statements
}

func quoted(names []string) (all []string) {
	for _, name := range names {
		all = append(all, `"`+name+`"`)
	}
	return all
}

// deleted is what is done after a row was deleted.
func (w *words) deleted(t Table) (statements []string) {
	id := w.id(t, "OLD")
	if t.New != "" {
		old := w.value(t, "OLD", t.New)
		if t.Old != "" {
			return []string{w.insert(t, "OLD", Deleted, id, w.valueOr(t, "OLD", t.Field), w.valueOr(t, "OLD", t.Author), w.value(t, "OLD", t.Old), old)}
		}
		return []string{w.insert(t, "OLD", Deleted, id, w.valueOr(t, "OLD", t.Field), w.valueOr(t, "OLD", t.Author), old, "NULL")}
	}
	for _, column := range t.Values {
		statements = append(statements, w.insert(t, "OLD", Deleted, id, "'"+column+"'", "NULL", w.value(t, "OLD", column), "NULL"))
	}
	return statements
}

// makes returns what captures a table.
func (w *words) makes(schema string, t Table) (all []made) {
	inserted, deleted := w.inserted(t), w.deleted(t)
	columns, conditions, updated := w.updated(t)
	if w == dialects["postgresql"] { // one function, which says what was done
		op := func(name string) string { return "IF " + fmt.Sprintf(w.equal, "TG_OP", "'"+name+"'") + " THEN" }
		body := slices.Concat([]string{op("INSERT")}, terminated(inserted), []string{"ELS" + op("UPDATE")}, w.whereEach(conditions, updated),
			[]string{"ELSE"}, terminated(deleted), []string{"END IF;"})
		return []made{
			w.shape(w, schema, t, "INSERT", w.only(t, "NEW"), body), w.shape(w, schema, t, "UPDATE", "", body), w.shape(w, schema, t, "DELETE", "", body),
		}
	}
	if t.OneByOne && w == dialects["sqlite"] { // which then looks at what an UPDATE names alone
		all = append(all, w.shape(w, schema, t, "INSERT", w.only(t, "NEW"), terminated(inserted)))
		for i, column := range columns {
			all = append(all, w.shape(w, schema, t, "UPDATE OF "+column, conditions[i], terminated(updated[i])))
		}
		return append(all, w.shape(w, schema, t, "DELETE", "", terminated(deleted)))
	}
	return []made{
		w.shape(w, schema, t, "INSERT", "", w.where(w.only(t, "NEW"), inserted)),
		w.shape(w, schema, t, "UPDATE", "", w.whereEach(conditions, updated)),
		w.shape(w, schema, t, "DELETE", "", terminated(deleted)),
	}
}

// only returns the condition on rows that are captured when they are inserted.
func (w *words) only(t Table, row string) string { return strings.ReplaceAll(t.Only, "ROW", row) }

func terminated(statements []string) (all []string) {
	for _, s := range statements {
		all = append(all, s+";")
	}
	return all
}

func (w *words) where(condition string, statements []string) (all []string) {
	if condition == "" {
		return terminated(statements)
	}
	if w == dialects["sqlite"] {
		for _, s := range statements {
			all = append(all, s+" WHERE "+condition+";")
		}
		return all
	}
	return slices.Concat([]string{"IF " + condition + " THEN"}, terminated(statements), []string{"END IF;"})
}

func (w *words) whereEach(conditions []string, statements [][]string) (all []string) {
	for i, condition := range conditions {
		all = append(all, w.where(condition, statements[i])...)
	}
	return all
}

// nameOf returns the name of a trigger.
func nameOf(t Table, event string) string {
	return "journal_" + t.Name + "_" + strings.ToLower(strings.Join(strings.FieldsFunc(event, func(r rune) bool { return r < 'A' || r > 'z' || r > 'Z' && r < '_' }), "_"))
}

func shapeSQLite(w *words, _ string, t Table, event, condition string, statements []string) made {
	m := made{name: nameOf(t, event), table: t.Name}
	when := "(SELECT own FROM journal_capture) = 0"
	if condition != "" {
		when += " AND (" + condition + ")"
	}
	m.body = fmt.Sprintf("CREATE TRIGGER %s AFTER %s ON %s WHEN %s BEGIN %s END", m.name, event, `"`+t.Name+`"`, when, strings.Join(statements, " "))
	m.body = sqltext.Of("sqlite").Write("", m.body)
	m.trigger = m.body
	return m
}

// foreignPostgreSQL is false in a transaction of the library's, and in one that it was joined to. A
// session may have all of its transactions be deferrable, and then none is ours by that.
const foreignPostgreSQL = `(current_setting('transaction_deferrable') = 'off' OR current_setting('default_transaction_deferrable') = 'on') AND coalesce(current_setting('tracbus.own', true), '') <> '1'`

func shapePostgreSQL(_ *words, schema string, t Table, event, condition string, statements []string) made {
	m := made{name: nameOf(t, event), table: t.Name, when: map[string]int{"INSERT": 5, "DELETE": 9, "UPDATE": 17}[event]}
	write := func(text string) string { return sqltext.Of("postgresql").Write(schema, text) }
	m.body = write("\nBEGIN\n" + strings.Join(statements, "\n") + "\nRETURN NULL;\nEND ")
	m.function = write("CREATE OR REPLACE FUNCTION {journal_"+t.Name+"}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$") + m.body + "$$"
	when := foreignPostgreSQL // not in the function: so the library's own writes do not call it
	if condition != "" {
		when += " AND (" + condition + ")"
	}
	m.trigger = write("CREATE TRIGGER " + m.name + " AFTER " + event + " ON {" + t.Name + "} FOR EACH ROW WHEN (" + when + ") EXECUTE FUNCTION {journal_" + t.Name + "}()")
	return m
}

// notifies sends a notification on a channel for each statement that writes to the inbox: one for
// each transaction, because PostgreSQL sends the same one once.
func notifies(schema, channel string) made {
	m := made{name: "journal_inbox_insert", table: "journal_inbox", when: 4}
	write := func(text string) string { return sqltext.Of("postgresql").Write(schema, text) }
	m.body = "\nBEGIN\nPERFORM pg_catalog.pg_notify('" + channel + "', 'inbox');\nRETURN NULL;\nEND "
	m.function = write("CREATE OR REPLACE FUNCTION {journal_inbox_notify}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$") + m.body + "$$"
	m.trigger = write("CREATE TRIGGER " + m.name + " AFTER INSERT ON {journal_inbox} FOR EACH STATEMENT EXECUTE FUNCTION {journal_inbox_notify}()")
	return m
}

// ownMySQL is true in a transaction of the library's, and in one that it was joined to, whose
// token goes away if that is rolled back.
const ownMySQL = "@tracbus_own IS NOT NULL AND (@tracbus_own = '1' OR EXISTS (SELECT 1 FROM {journal_own} WHERE token = CAST(@tracbus_own AS BINARY)))"

func shapeMySQL(w *words, _ string, t Table, event, _ string, statements []string) made {
	m := made{name: nameOf(t, event), table: t.Name}
	// No name of a schema: its tables are those of the trigger's own, also in a copy.
	m.body = sqltext.Of("mysql").Write("", "BEGIN IF NOT coalesce("+ownMySQL+", FALSE) THEN "+strings.Join(statements, " ")+" END IF; END")
	m.trigger = "CREATE TRIGGER {" + m.name + "} AFTER " + event + " ON {" + t.Name + "} FOR EACH ROW " + m.body
	return m
}
