package capture

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// Found is what there is of what captures.
type Found struct {
	Inbox    bool     // the table is there
	Captured []string // tables all of whose changes are captured
	Wrong    []string // what is missing, disabled or not as this library makes it, each a sentence's part
	Waiting  int64    // rows of the inbox

	stands bool // journal_capture has its row
}

// shown is a trigger as the database shows it.
type shown struct {
	table, body string
	disabled    bool
	unsafe      string // why it would not do what its body says; empty: it does
	when        int    // as in made
}

// Look finds what there is.
func (in *Inbox) Look(ctx context.Context, q SQL) (f Found, err error) {
	if f.Inbox, err = Exists(ctx, q, in.dialect.Name, in.schema); err != nil {
		return f, err
	}
	if !f.Inbox {
		f.Wrong = append(f.Wrong, "the table journal_inbox is missing: nothing that others write is captured")
		return f, nil
	}
	if err := limit.QueryRow(ctx, q, in.text("SELECT count(*) FROM {journal_inbox}")).Scan(&f.Waiting); err != nil {
		return f, err
	}
	if f.stands, err = in.stands(ctx, q); err != nil {
		return f, err
	}
	tables, err := in.existing(ctx, q)
	if err != nil {
		return f, err
	}
	triggers, err := in.triggers(ctx, q)
	if err != nil {
		return f, err
	}
	if !f.stands {
		f.Wrong = append(f.Wrong, "the row of table journal_capture is missing: nobody takes in what waits")
	}
	for _, t := range in.tables {
		if !slices.Contains(tables, t.Name) {
			continue // there is nothing to capture
		}
		right := f.stands || in.words != dialects["sqlite"] // whose triggers look at that row
		for _, m := range in.words.makes(in.schema, t) {
			if wrong := m.wrong(triggers); wrong != "" {
				f.Wrong = append(f.Wrong, wrong)
				right = false
			}
		}
		if right {
			f.Captured = append(f.Captured, t.Name)
		}
	}
	if in.channel != "" {
		if wrong := notifies(in.schema, in.channel).wrong(triggers); wrong != "" {
			f.Wrong = append(f.Wrong, wrong)
		}
	}
	return f, nil
}

// stands says whether journal_capture has its row.
func (in *Inbox) stands(ctx context.Context, q SQL) (ok bool, err error) {
	err = limit.QueryRow(ctx, q, in.text("SELECT count(*) > 0 FROM {journal_capture}")).Scan(&ok)
	return ok, err
}

// wrong says what is wrong with a trigger, or nothing.
func (m made) wrong(triggers map[string]shown) string {
	s, there := triggers[m.name]
	what := "trigger " + m.name + " of table " + m.table
	switch {
	case !there || s.table != m.table:
		return what + " is missing"
	case s.disabled:
		return what + " is disabled"
	case s.unsafe != "":
		return what + " " + s.unsafe
	case s.when != m.when || plain(s.body) != plain(m.body):
		return what + " is not the one that this release makes"
	}
	return ""
}

// plain is a text without what a database may change of it.
func plain(body string) string { return strings.Join(strings.Fields(body), " ") }

// existing returns those of the tables that exist.
func (in *Inbox) existing(ctx context.Context, q SQL) (names []string, err error) {
	for _, t := range in.tables {
		var ok bool
		err := limit.QueryRow(ctx, q, in.text(strings.ReplaceAll(in.dialect.HasTable, "TABLE", t.Name))).Scan(&ok)
		switch {
		case sqltext.IsNoTable(err):
		case err != nil:
			return nil, err
		case ok:
			names = append(names, t.Name)
		}
	}
	return names, nil
}

// triggers returns those that there are, by their names.
func (in *Inbox) triggers(ctx context.Context, q SQL) (all map[string]shown, err error) {
	var text string
	var args []any
	switch in.words {
	case dialects["sqlite"]:
		text = "SELECT name, tbl_name, sql, 0, '', 0 FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'journal!_%' ESCAPE '!'"
	case dialects["postgresql"]:
		text, args = `SELECT t.tgname::text, c.relname::text, p.prosrc, CASE WHEN t.tgenabled IN ('O', 'A') THEN 0 ELSE 1 END,
			CASE WHEN NOT p.prosecdef THEN 'calls a function without SECURITY DEFINER' ELSE '' END, t.tgtype
			FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_proc p ON p.oid = t.tgfoid
			WHERE NOT t.tgisinternal AND n.nspname = ? AND t.tgname LIKE 'journal!_%' ESCAPE '!'`, []any{in.schema}
	default:
		text, args = `SELECT trigger_name, event_object_table, COALESCE(action_statement, ''), 0, CASE WHEN action_statement IS NULL THEN 'cannot be read without the right TRIGGER'
				WHEN action_timing <> 'AFTER' THEN 'is not called after the statement' ELSE '' END, 0
			FROM information_schema.triggers WHERE trigger_schema = ? AND trigger_name LIKE 'journal!_%' ESCAPE '!'`, []any{in.schema}
	}
	rows, err := q.QueryContext(ctx, in.text(text), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all = map[string]shown{}
	for rows.Next() {
		var name string
		var s shown
		if err := rows.Scan(&name, &s.table, &s.body, &s.disabled, &s.unsafe, &s.when); err != nil {
			return nil, err
		}
		all[name] = s
	}
	return all, errors.Join(rows.Err(), rows.Close())
}

// Install makes what is missing, and again what is not as this library makes it. It needs the
// rights of the tables' owner.
func (in *Inbox) Install(ctx context.Context, db *sql.DB) error {
	return in.alone(ctx, db, func(q SQL) error {
		f, err := in.Look(ctx, q)
		if err != nil {
			return err
		}
		var statements []string
		if !f.Inbox {
			for _, s := range in.words.inbox {
				statements = append(statements, in.text(s))
			}
		} else if !f.stands {
			statements = append(statements, in.text(in.words.inbox[len(in.words.inbox)-1]))
		}
		tables, err := in.existing(ctx, q)
		if err != nil {
			return err
		}
		if len(tables) == 0 {
			return fmt.Errorf("none of the tables %s is there", strings.Join(names(in.tables), ", "))
		}
		triggers, err := in.triggers(ctx, q)
		if err != nil {
			return err
		}
		for _, t := range in.tables {
			if !slices.Contains(tables, t.Name) {
				continue
			}
			wanted := map[string]bool{}
			for _, m := range in.words.makes(in.schema, t) {
				wanted[m.name] = true
				if m.wrong(triggers) != "" {
					_, there := triggers[m.name]
					statements = append(statements, in.again(m, there)...)
				}
			}
			for name, s := range triggers { // of another release
				if s.table == t.Name && ours(name, s) && !wanted[name] {
					statements = append(statements, in.drop(name, t.Name))
				}
			}
		}
		if m := notifies(in.schema, in.channel); in.channel != "" && m.wrong(triggers) != "" {
			statements = append(statements, in.again(m, false)...)
		} else if _, there := triggers[m.name]; in.channel == "" && there && in.words == dialects["postgresql"] {
			statements = append(statements, in.drop(m.name, m.table))
		}
		return in.run(ctx, q, statements)
	})
}

func names(tables []Table) (all []string) {
	for _, t := range tables {
		all = append(all, t.Name)
	}
	return all
}

// run runs statements that are in the words of the database, or as package sqltext takes them.
func (in *Inbox) run(ctx context.Context, q SQL, statements []string) error {
	for _, s := range statements {
		if _, err := q.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%.60q: %w", s, err)
		}
		limit.Progress(ctx)
	}
	return nil
}

// again returns what makes a trigger in the place of one that may be there. Nothing is written in
// between that none of them captures.
func (in *Inbox) again(m made, there bool) []string {
	statements := slices.Concat([]string{in.drop(m.name, m.table)}, in.make(m))
	if there && in.words == dialects["mysql"] {
		statements = slices.Concat([]string{in.text("LOCK TABLES {" + m.table + "} WRITE")}, statements, []string{"UNLOCK TABLES"})
	}
	return statements
}

// ours says whether a trigger is one that this library made.
func ours(name string, s shown) bool {
	return strings.HasPrefix(name, "journal_"+s.table) || s.table == "journal_inbox"
}

// make returns what makes a trigger.
func (in *Inbox) make(m made) (statements []string) {
	if m.function != "" {
		statements = append(statements, m.function)
	}
	return append(statements, in.text(m.trigger))
}

// drop returns what drops a trigger, if it is there.
func (in *Inbox) drop(name, table string) string {
	if in.words == dialects["postgresql"] {
		return in.text("DROP TRIGGER IF EXISTS " + name + " ON {" + table + "}")
	}
	return in.text("DROP TRIGGER IF EXISTS {" + name + "}")
}

// functions returns what drops the functions of the triggers, if there are any.
func (in *Inbox) functions(tables []Table) (statements []string) {
	if in.words == dialects["postgresql"] {
		for _, t := range tables {
			statements = append(statements, in.text("DROP FUNCTION IF EXISTS {journal_"+t.Name+"}()"))
		}
		statements = append(statements, in.text("DROP FUNCTION IF EXISTS {journal_inbox_notify}()"))
	}
	return statements
}

// Who makes or drops a trigger waits for those who write the table, and all others wait behind: so
// it gives up soon, and tries again after a pause.
const (
	lockTries = 10
	lockPause = time.Second
)

// alone runs f while no other process makes or drops triggers: in one transaction, where that
// can make tables.
func (in *Inbox) alone(ctx context.Context, db *sql.DB, f func(SQL) error) (err error) {
	for try := 1; ; try++ {
		if err = in.tryAlone(ctx, db, f); !sqltext.IsLockTimeout(err) || try == lockTries || !limit.Sleep(ctx, lockPause) {
			return err
		}
	}
}

func (in *Inbox) tryAlone(ctx context.Context, db *sql.DB, f func(SQL) error) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	begin, end, undo := []string{"BEGIN IMMEDIATE"}, []string{"COMMIT"}, []string{"ROLLBACK"}
	switch in.words {
	case dialects["postgresql"]:
		begin = []string{"BEGIN", "SELECT pg_advisory_xact_lock(7074, 2)", "SELECT set_config('lock_timeout', '2s', true)"}
	case dialects["mysql"]:
		name := "(left(concat('tracbus capture ', database()), 64)"
		begin = []string{"DO get_lock" + name + ", 60)", "SET SESSION lock_wait_timeout = 2"}
		end = []string{"UNLOCK TABLES", "SET SESSION lock_wait_timeout = DEFAULT", "DO release_lock" + name + ")"}
		undo = end
	}
	if err = in.run(ctx, conn, begin); err == nil {
		err = f(conn)
	}
	if err != nil {
		_ = in.run(context.WithoutCancel(ctx), conn, undo)
		return err
	}
	return in.run(ctx, conn, end)
}

// Uninstall drops the triggers, and the inbox if nothing waits in it; otherwise left says how
// many rows do, which have to be taken in before.
func (in *Inbox) Uninstall(ctx context.Context, db *sql.DB) (left int64, err error) {
	err = in.alone(ctx, db, func(q SQL) error {
		there, err := Exists(ctx, q, in.dialect.Name, in.schema)
		if err != nil {
			return err
		}
		triggers, err := in.triggers(ctx, q)
		if err != nil {
			return err
		}
		var drops []string
		for name, s := range triggers {
			if ours(name, s) {
				drops = append(drops, in.drop(name, s.table))
			}
		}
		if in.words == dialects["mysql"] { // who lacks the right TRIGGER sees none, and is refused here
			for _, t := range in.spec.Tables {
				for _, m := range in.words.makes(in.schema, t) {
					drops = append(drops, in.drop(m.name, m.table))
				}
			}
		}
		if err := in.run(ctx, q, drops); err != nil {
			return err
		}
		if err := in.run(ctx, q, in.functions(in.spec.Tables)); err != nil {
			return err
		}
		if !there {
			return nil
		}
		if err := limit.QueryRow(ctx, q, in.text("SELECT count(*) FROM {journal_inbox}")).Scan(&left); err != nil || left > 0 {
			return err
		}
		for _, s := range in.words.drops {
			if err := in.run(ctx, q, []string{in.text(s)}); err != nil {
				return err
			}
		}
		return nil
	})
	return left, err
}

// Text returns the statements that Install runs where nothing is, and those that Uninstall runs.
func Text(spec Spec, dialect, schema string) (install, uninstall string, err error) {
	if dialects[dialect] == nil {
		return "", "", fmt.Errorf("dialect %q: expected sqlite, postgresql or mysql", dialect)
	}
	if dialect == "postgresql" && schema == "" {
		return "", "", fmt.Errorf("no schema: expected its name, because the functions name their tables with it")
	}
	in := &Inbox{spec: spec, tables: spec.Tables, dialect: sqltext.Of(dialect), words: dialects[dialect], schema: schema}
	var makes, drops []string
	for _, s := range in.words.inbox {
		makes = append(makes, in.text(s))
	}
	for _, t := range spec.Tables {
		for _, m := range in.words.makes(schema, t) {
			for _, s := range in.make(m) {
				if !slices.Contains(makes, s) { // triggers may share a function
					makes = append(makes, s)
				}
			}
			drops = append(drops, in.drop(m.name, m.table))
		}
	}
	for _, s := range in.words.drops {
		drops = append(drops, in.text(s))
	}
	drops = append(drops, in.functions(spec.Tables)...)
	return strings.Join(makes, "\n\n") + "\n", strings.Join(drops, "\n\n") + "\n", nil
}
