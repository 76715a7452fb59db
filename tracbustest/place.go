package tracbustest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// place is where the tables of a check are: a schema of its own.
type place struct {
	dialect tracbus.Dialect
	open    func() (*sql.DB, error)
	words   *sqltext.Dialect
	schema  string  // empty on SQLite
	admin   *sql.DB // a pool beside those of the processes
}

// The tables of an application: items that are changed, and which transactions were
// committed. On MySQL, tables and columns have the character set of the database, which has
// that of the journal.
var placeTables = []string{
	`CREATE TABLE {item} (id bigint NOT NULL PRIMARY KEY, n bigint NOT NULL)`,
	`CREATE TABLE {done} (token varchar(60) NOT NULL PRIMARY KEY)`,
}

// newPlace makes a schema.
func newPlace(ctx context.Context, dialect tracbus.Dialect, open func() (*sql.DB, error)) (_ *place, err error) {
	p := &place{dialect: dialect, open: open, words: sqltext.Of(string(dialect))}
	if p.words == nil {
		return nil, fmt.Errorf("dialect %q: expected %q, %q or %q", dialect, tracbus.SQLite, tracbus.PostgreSQL, tracbus.MySQL)
	}
	if p.admin, err = open(); err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	if err = p.make(ctx); err != nil {
		return nil, errors.Join(err, p.admin.Close())
	}
	return p, nil
}

func (p *place) make(ctx context.Context) error {
	if err := p.admin.PingContext(ctx); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	name := "tracbustest_" + strings.ToLower(rand.Text()[:12])
	switch p.dialect {
	case tracbus.SQLite:
		if tables, err := p.objects(ctx); err != nil || len(tables) > 0 {
			return errors.Join(err, fmt.Errorf("the file has the tables %q: expected a new file", tables))
		}
	case tracbus.PostgreSQL:
		if _, err := p.admin.ExecContext(ctx, "CREATE SCHEMA "+name); err != nil {
			return fmt.Errorf("CREATE SCHEMA: %w", err)
		}
		p.schema = name
	case tracbus.MySQL:
		if _, err := p.admin.ExecContext(ctx, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4"); err != nil {
			return fmt.Errorf("CREATE DATABASE: %w", err)
		}
		p.schema = name
	}
	for _, statement := range placeTables {
		if _, err := p.admin.ExecContext(ctx, p.sql(statement)); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", p.sql(statement), err), p.clear(context.WithoutCancel(ctx)))
		}
	}
	return nil
}

// sql writes a statement as the database expects it: {name} is a table of the place, and ?
// a parameter.
func (p *place) sql(text string) string { return p.words.Write(p.schema, text) }

// drop drops all that is in the place, and closes the pool.
func (p *place) drop(ctx context.Context) error {
	return errors.Join(p.clear(ctx), p.admin.Close())
}

func (p *place) clear(ctx context.Context) error {
	statements := []string{"DROP SCHEMA " + p.schema + " CASCADE"}
	switch p.dialect {
	case tracbus.MySQL:
		statements = []string{"DROP DATABASE " + p.schema}
	case tracbus.SQLite: // the file was empty, so all of it is the check's
		objects, err := p.objects(ctx)
		if err != nil {
			return err
		}
		statements = objects
		for i, o := range objects {
			statements[i] = "DROP " + o
		}
	}
	for _, s := range statements {
		if _, err := p.admin.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// objects returns what an SQLite file has, as `TABLE "item"`, views first.
func (p *place) objects(ctx context.Context) (all []string, err error) {
	rows, err := p.admin.QueryContext(ctx, `SELECT upper(type) || ' "' || replace(name, '"', '""') || '"' FROM sqlite_master
		WHERE type IN ('view', 'trigger', 'table') AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY type = 'table', type = 'view'`)
	if err != nil {
		return nil, fmt.Errorf("tables of the file: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var object string
		if err := rows.Scan(&object); err != nil {
			return nil, err
		}
		all = append(all, object)
	}
	return all, rows.Err()
}

// session returns what the database calls the session of q; 0 if it has no name.
func (p *place) session(ctx context.Context, q tracbus.SQL) (id int64, err error) {
	switch p.dialect {
	case tracbus.PostgreSQL:
		err = q.QueryRowContext(ctx, "SELECT pg_backend_pid()").Scan(&id)
	case tracbus.MySQL:
		err = q.QueryRowContext(ctx, "SELECT connection_id()").Scan(&id)
	}
	return id, err
}

// kill kills a session of the check's own.
func (p *place) kill(ctx context.Context, session int64) error {
	if p.dialect == tracbus.PostgreSQL {
		_, err := p.admin.ExecContext(ctx, "SELECT pg_terminate_backend($1)", session)
		return err
	}
	_, err := p.admin.ExecContext(ctx, fmt.Sprintf("KILL CONNECTION %d", session)) // takes no parameter
	return err
}
