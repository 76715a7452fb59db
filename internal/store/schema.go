package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tracbus/tracbus/internal/limit"
)

//go:embed schema
var files embed.FS

// version is the schema's that this library writes and reads.
const version = 2

// Text returns the statements that make the tables of a journal, for those who
// have a migration tool of their own.
func Text(dialect, schema string, realms []string) (string, error) {
	d := dialectOf(dialect)
	if d == nil {
		return "", fmt.Errorf("dialect %q: expected %s", dialect, names())
	}
	if err := d.checkSchema(schema); err != nil {
		return "", err
	}
	var b strings.Builder
	statements := d.statements("")
	for _, realm := range realms {
		statements = append(statements, d.statements(realm)...)
	}
	statements = append(statements, d.upgrade()...) // last, so that those who upgrade find it
	for _, statement := range statements {
		b.WriteString(strings.TrimSpace(d.text.Write(schema, statement)) + "\n\n")
	}
	return b.String(), nil
}

// statements returns what makes the common tables of version 1, or those of a
// realm.
func (d *dialect) statements(realm string) []string {
	name := ".sql"
	if realm != "" {
		name = "_realm.sql"
	}
	return strings.Split(strings.ReplaceAll(d.file(name), "REALM", realm), "\n\n")
}

// upgrade returns what makes version 2 of version 1. It can be repeated.
func (d *dialect) upgrade() []string { return strings.Split(d.file("_2.sql"), "\n\n") }

func (d *dialect) file(name string) string {
	text, err := files.ReadFile("schema/" + d.text.Name + name)
	if err != nil {
		panic("tracbus: " + err.Error()) // embedded with the program
	}
	return string(text)
}

// migrate makes the tables that are missing, one process at a time, or says
// which are.
func (s *Store) migrate(ctx context.Context, manual bool) (err error) {
	defer s.Within(s.limits.Lock, &ctx, &err)()
	missing, found, err := s.look(ctx, s.db)
	if err != nil {
		return err
	}
	if manual {
		err = refuse(missing, found)
	} else if len(missing) > 0 || found < version {
		if err = s.create(ctx); err != nil {
			err = fmt.Errorf("create the tables of the journal: %w", err)
		}
	}
	if err != nil {
		return err
	}
	if err := s.readFacts(ctx); err != nil {
		return err
	}
	return s.dialect.checkTables(s, ctx)
}

// refuse says what an application has to make that makes the tables itself.
func refuse(missing []string, found int) error {
	switch {
	case len(missing) > 0 && found != 0 && found < version:
		return fmt.Errorf("%w: tables are missing: %s; those there are of version %d: expected version %d", ErrSchema, strings.Join(missing, ", "), found, version)
	case len(missing) > 0:
		return fmt.Errorf("%w: tables are missing: %s", ErrSchema, strings.Join(missing, ", "))
	}
	return checkVersion(found)
}

// look returns which tables are missing, and of which version the others are: 0
// without journal_facts. What cannot be brought to this version is an error. While
// another process makes tables, what is seen may be anything: only within create,
// alone, does what is missing say that something was taken away.
func (s *Store) look(ctx context.Context, q SQL) (missing []string, found int, err error) {
	if missing, err = s.missing(ctx, q); err != nil || slices.Contains(missing, "journal_facts") {
		return missing, 0, err
	}
	err = limit.QueryRow(ctx, q, s.SQL("SELECT schema_version FROM {journal_facts} WHERE one = 1")).Scan(&found)
	switch {
	case errors.Is(err, sql.ErrNoRows) && s.begun(missing):
		return append(missing, "journal_facts"), 0, nil
	case errors.Is(err, sql.ErrNoRows):
		err = fmt.Errorf("%w: journal_facts has no row", ErrSchema)
	case err == nil && found != 1:
		err = checkVersion(found)
	}
	return missing, found, err
}

// begun says whether journal_facts can be without its row because somebody is
// making the tables, or died of it: those that come later are not there.
func (s *Store) begun(missing []string) bool {
	later := upgraded()
	for _, realm := range s.realms {
		later = append(later, realm+"_journal", realm+"_history")
	}
	return !s.dialect.txDDL && !slices.ContainsFunc(later, func(name string) bool { return !slices.Contains(missing, name) })
}

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

// upgraded are the tables that version 2 added.
func upgraded() []string { return []string{"journal_once", "journal_aside"} }

// common returns the names of the tables that all realms share, of version 1.
func (d *dialect) common() []string {
	return append([]string{"journal_facts", "journal_transaction"}, d.ownTables...)
}

// missing names the tables that are not there: common ones, "<realm>_journal" or
// "<realm>_history". It looks at all in one statement: between two, another
// process may make some.
func (s *Store) missing(ctx context.Context, q SQL) (names []string, err error) {
	names = append(s.dialect.common(), upgraded()...)
	for _, realm := range s.realms {
		names = append(names, realm+"_journal", realm+"_history")
	}
	args := []any{s.schema}
	for _, name := range names {
		args = append(args, name)
	}
	rows, err := q.QueryContext(ctx, s.SQL(s.dialect.tables+"(?"+strings.Repeat(", ?", len(names)-1)+")"), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var there string
		if err := rows.Scan(&there); err != nil {
			return nil, err
		}
		names = slices.DeleteFunc(names, func(name string) bool { return name == there })
	}
	return names, errors.Join(rows.Err(), rows.Close())
}

// create runs the migration. Where tables are made within a transaction, all are
// or none; elsewhere the statements can be repeated.
func (s *Store) create(ctx context.Context) error {
	conn, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	defer conn.Rollback()
	if err := s.createAlone(ctx, conn); err != nil {
		if s.dialect.migrated != "" {
			conn.Break() // and with it the lock, which is the connection's
		}
		return err
	}
	return s.Commit(ctx, conn)
}

// createAlone makes what is missing while no other process does.
func (s *Store) createAlone(ctx context.Context, conn *Conn) error {
	if err := s.lockMigration(ctx, conn); err != nil {
		return err
	}
	missing, found, err := s.look(ctx, conn) // again: another process may have been faster
	if err != nil {
		return err
	}
	if err := s.half(missing, found); err != nil {
		return err
	}
	for _, statement := range s.needed(missing, found) {
		if _, err := conn.ExecContext(ctx, s.dialect.text.Write(s.schema, statement)); err != nil {
			return fmt.Errorf("%.60q: %w", statement, err)
		}
		limit.Progress(ctx)
	}
	if s.dialect.migrated != "" {
		return limit.Ask(ctx, conn, s.SQL(s.dialect.migrated), s.schema)
	}
	return nil
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

// half refuses tables of which only some were taken away. On MySQL, which cannot
// make tables within a transaction, a process may have died half way.
func (s *Store) half(missing []string, found int) error {
	if slices.Contains(missing, "journal_facts") {
		for _, name := range upgraded() { // made after it
			if !slices.Contains(missing, name) {
				return fmt.Errorf("%w: journal_facts is missing, although %s is there", ErrSchema, name)
			}
		}
	}
	for _, name := range missing {
		sister := "journal_facts"
		if realm, ok := strings.CutSuffix(name, "_journal"); ok {
			sister = realm + "_history"
		} else if realm, ok := strings.CutSuffix(name, "_history"); ok {
			sister = realm + "_journal"
		} else if name == sister {
			sister = "journal_transaction"
		}
		if slices.Contains(upgraded(), name) {
			if found == version { // which is raised last
				return fmt.Errorf("%w: %s is missing, although the tables are of version %d", ErrSchema, name, found)
			}
			continue
		}
		common := name != "journal_facts" && slices.Contains(s.dialect.common(), name)
		if (s.dialect.txDDL || common) && !slices.Contains(missing, sister) {
			return fmt.Errorf("%w: %s is missing, although %s is there", ErrSchema, name, sister)
		}
	}
	return nil
}

// needed returns the statements that make what is missing.
func (s *Store) needed(missing []string, found int) (statements []string) {
	is := func(name string) bool { return slices.Contains(missing, name) }
	if is("journal_facts") {
		statements = s.dialect.statements("")
	}
	for _, realm := range s.realms {
		if is(realm+"_journal") || is(realm+"_history") {
			statements = append(statements, s.dialect.statements(realm)...)
		}
	}
	if found < version {
		statements = append(statements, s.dialect.upgrade()...)
	}
	return statements
}
