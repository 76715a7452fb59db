package foreign_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tracbus/tracbus"
)

// What a write did.
const (
	created        = string(tracbus.KindCreated)
	changed        = string(tracbus.KindChanged)
	deleted        = string(tracbus.KindDeleted)
	commentEdited  = string(tracbus.KindCommentEdited)
	changeDeleted  = string(tracbus.KindChangeDeleted)
	renamed        = string(tracbus.KindRenamed)
	versionDeleted = string(tracbus.KindVersionDeleted)
	raw            = "raw" // an UPDATE that no model of Trac's makes
)

// write is a row of the table foreign_write: a change of one resource that was committed, because
// whoever made it inserted the row in the same transaction.
type write struct {
	Token    string // of the transaction: "run/number"
	Resource string

	// N is its place in the order of the commits of a ticket: a counter that is read and raised
	// under the lock of the ticket's row. 0 for pages.
	N    int
	Kind string

	// State is what the tables had of a ticket after it, read under that lock.
	State map[string]string

	// Made is when the comment was made that was edited, or the change that was deleted, and Ref is the
	// comment before the edit, as Trac noted it.
	Made    int64
	Ref     string
	Version int64  // of a page
	OldName string // of a page

	// Stale says that Trac overlooked what another one did meanwhile, so that it did half of what it does.
	Stale bool
}

// run returns the run of a process that made a transaction.
func run(token string) string {
	name, _, _ := strings.Cut(token, "/")
	return name
}

// truthTables are beside Trac's, and nothing captures them.
var truthTables = []string{
	`CREATE TABLE foreign_count (resource VARCHAR(100) NOT NULL PRIMARY KEY, n INTEGER NOT NULL)`,
	`CREATE TABLE foreign_write (token VARCHAR(60) NOT NULL, resource VARCHAR(100) NOT NULL, said TEXT NOT NULL, PRIMARY KEY (token, resource))`,
}

// columns are the fields of a ticket that writers change, and custom is one that is in ticket_custom.
var columns = []string{"summary", "keywords", "milestone", "owner", "component"}

const custom = "colour"

// querier runs statements.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// dialect writes statements for one database.
type dialect tracbus.Dialect

func (d dialect) text(text string) string {
	for n := 1; d == dialect(tracbus.PostgreSQL) && strings.Contains(text, "?"); n++ {
		text = strings.Replace(text, "?", fmt.Sprintf("$%d", n), 1)
	}
	return text
}

// locked ends a SELECT that is to see what is committed now: on MySQL, a transaction of Trac's
// shows others as they were when it first looked.
func (d dialect) locked() string {
	if d == dialect(tracbus.MySQL) {
		return " FOR UPDATE"
	}
	return ""
}

func (d dialect) exec(ctx context.Context, q querier, text string, args ...any) (affected int64, err error) {
	result, err := q.ExecContext(ctx, d.text(text), args...)
	if err != nil {
		return 0, fmt.Errorf("%.60s: %w", text, err)
	}
	return result.RowsAffected()
}

// mark notes a write in its transaction. What it wrote is locked.
func (d dialect) mark(ctx context.Context, q querier, w write) error {
	if id, ok := strings.CutPrefix(w.Resource, "ticket "); ok {
		raise := `INSERT INTO foreign_count (resource, n) VALUES (?, 1) ON CONFLICT (resource) DO UPDATE SET n = foreign_count.n + 1`
		if d == dialect(tracbus.MySQL) {
			raise = `INSERT INTO foreign_count (resource, n) VALUES (?, 1) ON DUPLICATE KEY UPDATE n = n + 1`
		}
		if _, err := d.exec(ctx, q, raise, w.Resource); err != nil {
			return err
		}
		if err := q.QueryRowContext(ctx, d.text("SELECT n FROM foreign_count WHERE resource = ?"), w.Resource).Scan(&w.N); err != nil {
			return err
		}
		var err error
		if w.State, err = d.state(ctx, q, id, d.locked()); err != nil {
			return err
		}
	}
	said, err := json.Marshal(w)
	if err != nil {
		return err
	}
	_, err = d.exec(ctx, q, "INSERT INTO foreign_write VALUES (?, ?, ?)", w.Token, w.Resource, string(said))
	return err
}

// state reads the fields of a ticket. Null and what is missing are "".
func (d dialect) state(ctx context.Context, q querier, id, locked string) (map[string]string, error) {
	values := make([]sql.NullString, len(columns)+1)
	targets := make([]any, len(values))
	for i := range values {
		targets[i] = &values[i]
	}
	err := q.QueryRowContext(ctx, d.text("SELECT "+strings.Join(columns, ", ")+" FROM ticket WHERE id = "+id+locked)).Scan(targets[:len(columns)]...)
	if err == nil || err == sql.ErrNoRows {
		err = q.QueryRowContext(ctx, d.text("SELECT value FROM ticket_custom WHERE ticket = "+id+" AND name = '"+custom+"'"+locked)).Scan(targets[len(columns)])
	}
	if err != nil && err != sql.ErrNoRows {
		return nil, err
	}
	state := map[string]string{custom: values[len(columns)].String}
	for i, name := range columns {
		state[name] = values[i].String
	}
	return state, nil
}
