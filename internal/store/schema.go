package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
	"github.com/tracbus/tracbus/internal/store/schema"
)

// version is the schema's that this library writes and reads.
const version = schema.Version

// sql returns the statements that make the tables.
func (d *dialect) sql() schema.Of { return schema.Of(d.text.Name) }

// Text returns the statements that make the tables of a journal in a schema of this name, for those who
// have a migration tool of their own. With upgrade it returns those that make them of
// tables of version 2, which have to be of these realms and no other.
func Text[R ~string](dialect, name string, realms []R, upgrade bool) (string, error) {
	d := dialectOf(dialect)
	if d == nil {
		return "", fmt.Errorf("journal schema: dialect %q: expected %s", dialect, names())
	}
	if err := d.checkSchema(name); err != nil {
		return "", fmt.Errorf("journal schema: %w", err)
	}
	var all []string
	for _, realm := range realms {
		all = append(all, string(realm))
	}
	statements := d.sql().Tables()
	if upgrade {
		step := d.sql().Three(all)
		statements = slices.Concat(step.Try, step.Begin, step.Copies(0, unbounded), step.End)
	}
	statements = append(statements, d.sql().Routines()...)
	for _, realm := range all {
		statements = append(statements, d.sql().Views(realm)...)
	}
	var b strings.Builder
	for _, statement := range statements {
		b.WriteString(strings.TrimSpace(d.text.Write(name, statement)) + "\n\n")
	}
	return b.String(), nil
}

// migrate makes what is missing, one process at a time, or says what that is.
func (s *Store) migrate(ctx context.Context, manual bool) (err error) {
	defer s.Within(s.limits.Lock, &ctx, &err)()
	l, err := s.look(ctx, s.db)
	if err != nil {
		return err
	}
	if manual {
		err = l.refuse()
	} else if len(l.missing) > 0 || l.version < version || l.old || len(l.routines) > 0 {
		if err = s.create(ctx); err != nil {
			err = fmt.Errorf("create the tables of the journal: %w", err)
		}
	}
	if err != nil {
		return err
	}
	if text := s.dialect.sql().Marks(); text != "" && !manual && !l.table("journal_mark") { // who may not do it learns that from the first savepoint
		_, _ = s.db.ExecContext(ctx, s.SQL(text))
	}
	if err := s.readFacts(ctx); err != nil {
		return err
	}
	return s.dialect.checkTables(s, ctx)
}

// looked is what there is of a journal.
type looked struct {
	version int             // 0: there is no row that says it
	there   map[string]bool // what is there, and whether it is a view
	missing []string        // tables and views of this version
	old     bool            // there are tables of version 2

	routines []string // procedures that are missing or others than ours, if the tables are there
}

// table says whether there is a table, and no view, of a name.
func (l looked) table(name string) bool {
	view, there := l.there[name]
	return there && !view
}

// refuse says what an application has to make that makes the tables itself.
func (l looked) refuse() error {
	switch {
	case l.old && l.version == version:
		return fmt.Errorf("%w: the step to version %d is not finished: journal_transaction_2 is there", ErrSchema, version)
	case l.version != 0 && l.version < version:
		return fmt.Errorf("%w: the tables are of version %d: expected version %d", ErrSchema, l.version, version)
	case len(l.missing) > 0:
		return fmt.Errorf("%w: tables are missing: %s", ErrSchema, strings.Join(l.missing, ", "))
	case len(l.routines) > 0:
		return fmt.Errorf("%w: procedures are missing, as a dump leaves them out that is not told to have them, or are not those of this library: %s", ErrSchema, strings.Join(l.routines, ", "))
	}
	return nil
}

// look finds what there is of the journal, also of these realms of version 2. What cannot
// be brought to this version is an error. While another process makes tables, what is seen
// may be anything: only within create, alone, does what is missing say that something was
// taken away.
func (s *Store) look(ctx context.Context, q SQL, old ...string) (l looked, err error) {
	wanted := s.dialect.common()
	for _, realm := range s.realms {
		wanted = append(wanted, viewsOf(realm)...)
	}
	names := append(slices.Clone(wanted), "journal_transaction", "journal_transaction_2", "journal_once", "journal_aside", "journal_mark")
	for _, realm := range old {
		names = append(names, realm+"_journal", realm+"_history", realm+"_journal_2")
	}
	if l.there, err = s.there(ctx, q, names); err != nil {
		return l, err
	}
	for _, name := range wanted {
		view, there := l.there[name]
		if !there || view == slices.Contains(s.dialect.common(), name) {
			l.missing = append(l.missing, name)
		}
	}
	l.old = l.table("journal_transaction") || l.table("journal_transaction_2")
	if slices.Contains(l.missing, "journal_facts") {
		return l, nil
	}
	err = limit.QueryRow(ctx, q, s.SQL("SELECT schema_version FROM {journal_facts} WHERE one = 1")).Scan(&l.version)
	switch {
	case errors.Is(err, sql.ErrNoRows) && !s.dialect.txDDL && !s.anyView(l): // somebody makes the tables, or died of it
		l.missing = append(l.missing, "journal_facts")
		return l, nil
	case errors.Is(err, sql.ErrNoRows):
		return l, fmt.Errorf("%w: journal_facts has no row", ErrSchema)
	case err == nil && (l.version < 1 || l.version > version):
		return l, checkVersion(l.version)
	case err == nil && l.version == version:
		l.routines, err = s.missingRoutines(ctx, q)
	}
	return l, err
}

// missingRoutines returns the procedures that are missing, or have another body than ours, as
// far as this user may see that: one that names a schema would write there, whoever calls it.
// To call one with too few values does nothing, and says whether it is there, also to a user
// who may not call it.
func (s *Store) missingRoutines(ctx context.Context, q SQL) (missing []string, err error) {
	const asks = "SELECT coalesce(routine_definition, '') FROM information_schema.routines WHERE routine_schema = ? AND routine_name = ? AND routine_type = 'PROCEDURE'"
	for _, name := range s.dialect.routines {
		_, err := q.ExecContext(ctx, s.SQL("CALL {"+name+"}(0, 0)"))
		there := !sqltext.IsNoRoutine(err)
		if there && !s.dialect.answered(err) {
			return nil, err
		}
		var body string
		if err := limit.QueryRow(ctx, q, s.SQL(asks), s.schema, name).Scan(&body); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, err
		}
		if !there || !s.dialect.sql().HasBody(body) {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

func (s *Store) anyView(l looked) bool {
	for _, realm := range s.realms {
		if l.there[realm+"_journal"] || l.there[realm+"_history"] {
			return true
		}
	}
	return false
}

func viewsOf(realm string) []string { return []string{realm + "_journal", realm + "_history"} }

func checkVersion(found int) error {
	if found != version {
		return fmt.Errorf("%w: the tables are of version %d, this library knows version %d", ErrSchema, found, version)
	}
	return nil
}

// readFacts reads what names the journal, and refuses one of another version.
func (s *Store) readFacts(ctx context.Context) error {
	var found int
	err := limit.QueryRow(ctx, s.db, s.SQL("SELECT uuid, schema_version, lock_class FROM {journal_facts} WHERE one = 1")).Scan(&s.uuid, &found, &s.class)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("%w: journal_facts has no row", ErrSchema)
	case err != nil:
		return err
	}
	return checkVersion(found)
}

// common returns the names of the tables that all realms share.
func (d *dialect) common() []string {
	return append([]string{"journal_facts", "journal_change", "journal_consumer", "journal_dead_letter"}, d.ownTables...)
}

// there returns which of some tables and views are there, and whether each is a view. It
// looks at all in one statement: between two, another process may make some.
func (s *Store) there(ctx context.Context, q SQL, names []string) (there map[string]bool, err error) {
	args := []any{s.schema}
	for _, name := range names {
		args = append(args, name)
	}
	rows, err := q.QueryContext(ctx, s.SQL(s.dialect.tables+"(?"+strings.Repeat(", ?", len(names)-1)+")"), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	there = map[string]bool{}
	for rows.Next() {
		var name string
		var view bool
		if err := rows.Scan(&name, &view); err != nil {
			return nil, err
		}
		there[name] = view
	}
	return there, errors.Join(rows.Err(), rows.Close())
}

// create makes what is missing, in as many transactions as it takes.
func (s *Store) create(ctx context.Context) error {
	var u upgrade
	for {
		var more bool
		err := again(ctx, func() (err error) {
			more, err = s.createSome(ctx, &u)
			return err
		})
		if err != nil || !more {
			return err
		}
	}
}

// createSome runs one transaction of it, while no other process does. Where tables are made
// within a transaction, all are or none; elsewhere the statements can be repeated.
func (s *Store) createSome(ctx context.Context, u *upgrade) (more bool, err error) {
	conn, err := s.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Rollback()
	if more, err = s.createAlone(ctx, conn, u); err != nil {
		if s.dialect.migrated != "" {
			conn.Break() // and with it the lock, which is the connection's
		}
		return false, err
	}
	return more, s.Commit(ctx, conn)
}

func (s *Store) createAlone(ctx context.Context, conn *Conn, u *upgrade) (more bool, err error) {
	if err := s.lockMigration(ctx, conn); err != nil {
		return false, err
	}
	l, err := s.look(ctx, conn) // again: another process may have been faster
	if err != nil {
		return false, err
	}
	if err := s.half(l); err != nil {
		return false, err
	}
	var statements []string
	switch {
	case l.version == 0: // procedures first: a user who may not call them could not see later that they are missing
		statements = slices.Concat(s.dialect.sql().Routines(), s.dialect.sql().Tables())
	case l.version == 1:
		statements = s.dialect.sql().Two()
	case l.version == 2 || l.old:
		statements, err = s.upgrade(ctx, conn, u)
	}
	if more = len(statements) > 0; !more && err == nil {
		statements, err = s.missingViews(ctx, conn, l)
		if len(l.routines) > 0 {
			statements = append(statements, s.dialect.sql().Routines()...)
		}
	}
	if err != nil {
		return false, err
	}
	for _, statement := range statements {
		if _, err := conn.ExecContext(ctx, s.dialect.text.Write(s.schema, statement)); err != nil {
			return false, fmt.Errorf("%.60q: %w", statement, err)
		}
		limit.Progress(ctx)
	}
	if s.dialect.migrated != "" {
		if _, err = conn.ExecContext(ctx, "COMMIT"); err == nil { // before the next one looks
			err = limit.Ask(ctx, conn, s.SQL(s.dialect.migrated), s.schema)
		}
	}
	return more, err
}

// missingViews returns the statements that make the views that are missing. A realm without
// changes may still have its tables of version 2.
func (s *Store) missingViews(ctx context.Context, q SQL, l looked) (statements []string, err error) {
	for _, realm := range s.realms {
		some := false
		for _, name := range viewsOf(realm) {
			some = some || slices.Contains(l.missing, name)
			if !l.table(name) {
				continue
			}
			var rows int
			if err := limit.QueryRow(ctx, q, s.SQL("SELECT count(*) FROM {"+name+"}")).Scan(&rows); err != nil {
				return nil, err
			}
			if rows > 0 {
				return nil, fmt.Errorf("%w: %s is a table with %d rows: expected a view, or none", ErrSchema, name, rows)
			}
			statements = append(statements, "DROP TABLE {"+name+"}")
		}
		if some {
			statements = append(statements, s.dialect.sql().Views(realm)...)
		}
	}
	return statements, nil
}

func (s *Store) lockMigration(ctx context.Context, conn *Conn) error {
	if s.dialect.migrating == "" {
		return nil
	}
	var locked sql.NullBool
	err := limit.QueryRow(ctx, conn, s.SQL(s.dialect.migrating), s.schema).Scan(&locked)
	if err == nil && !locked.Bool {
		err = errors.New("the database did not lock it")
	}
	if err != nil {
		return fmt.Errorf("wait for other processes that make them: %w", err)
	}
	limit.Progress(ctx)
	return nil
}

// half refuses tables of which only some were taken away: to make a lost one anew would
// lose changes in silence. On MySQL, which cannot make tables within a transaction, a
// process may have died half way; then the row of journal_facts is missing.
func (s *Store) half(l looked) error {
	switch {
	case l.version == 0:
		for name, view := range l.there {
			if name != "journal_facts" && (s.dialect.txDDL || view) {
				return fmt.Errorf("%w: journal_facts is missing, although %s is there", ErrSchema, name)
			}
		}
	case l.version < version && !l.old:
		return fmt.Errorf("%w: journal_transaction is missing, although the tables are of version %d", ErrSchema, l.version)
	case l.version == 2:
		for _, name := range []string{"journal_once", "journal_aside"} {
			if !l.table(name) {
				return fmt.Errorf("%w: %s is missing, although the tables are of version %d", ErrSchema, name, l.version)
			}
		}
	case l.version == version && !l.old:
		for _, name := range l.missing {
			if slices.Contains(s.dialect.common(), name) {
				return fmt.Errorf("%w: %s is missing, although the tables are of version %d", ErrSchema, name, l.version)
			}
		}
	}
	return nil
}
