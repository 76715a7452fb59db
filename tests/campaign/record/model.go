package record

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
)

// How many tickets and pages an attack has. The first hotItems tickets are
// changed by many.
const (
	items    = 300
	hotItems = 3
	pages    = 20
)

// tables are the application's own. plain_journal is one as it would be
// without this library: see plain.go.
var tables = []string{
	`CREATE TABLE attack_item   (id BIGINT PRIMARY KEY, n BIGINT NOT NULL, live INTEGER NOT NULL, maker VARCHAR(60) NOT NULL)`,
	`CREATE TABLE attack_page   (name VARCHAR(60) NOT NULL, version BIGINT NOT NULL, maker VARCHAR(60) NOT NULL, PRIMARY KEY (name, version))`,
	`CREATE TABLE attack_commit (maker VARCHAR(60) PRIMARY KEY, changes INTEGER NOT NULL)`,
}

// plainTable is how each database spells it.
var plainTable = map[tracbus.Dialect]string{
	tracbus.SQLite:     `CREATE TABLE plain_journal (tid INTEGER PRIMARY KEY AUTOINCREMENT, maker VARCHAR(60) NOT NULL)`,
	tracbus.PostgreSQL: `CREATE TABLE plain_journal (tid BIGSERIAL PRIMARY KEY, maker VARCHAR(60) NOT NULL)`,
	tracbus.MySQL:      `CREATE TABLE plain_journal (tid BIGINT PRIMARY KEY AUTO_INCREMENT, maker VARCHAR(60) NOT NULL)`,
}

// CreateTables creates the tables of the application, and its tickets.
func CreateTables(t testing.TB, db *sql.DB, d tracbus.Dialect) {
	t.Helper()
	statements := append([]string{plainTable[d]}, tables...)
	for id := 1; id <= items; id++ {
		statements = append(statements, fmt.Sprintf("INSERT INTO attack_item VALUES (%d, 0, 1, '')", id))
	}
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// marks numbers the marks of a statement where the database wants that.
func marks(d tracbus.Dialect, text string) string {
	if d != tracbus.PostgreSQL {
		return text
	}
	for n := 1; strings.Contains(text, "?"); n++ {
		text = strings.Replace(text, "?", "$"+strconv.Itoa(n), 1)
	}
	return text
}

// execute runs a statement of the application.
func execute(ctx context.Context, tx *tracbus.ModelTransaction, text string, args ...any) error {
	_, err := tx.SQL().ExecContext(ctx, marks(tx.Dialect(), text), args...)
	return err
}

func queryRow(ctx context.Context, tx *tracbus.ModelTransaction, text string, args ...any) *sql.Row {
	return tx.SQL().QueryRowContext(ctx, marks(tx.Dialect(), text), args...)
}

// item is a change of a ticket as an application with tables of its own
// would write one. Its row counts its changes, and tells who made the last one.
// A deleted ticket keeps its row, so that it can come back.
type item struct {
	id    int64
	maker string

	changed bool
}

func (m *item) Resource() tracbus.Resource {
	return tracbus.Resource{Realm: tracbus.RealmTicket, ID: strconv.FormatInt(m.id, 10)}
}

func (m *item) Save(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	n, live, before, err := m.write(ctx, tx, true)
	if err != nil {
		return nil, err
	}
	if !live {
		return tracbus.TicketCreated{ID: m.id, Values: m.values(n+1, m.maker)}, nil
	}
	return tracbus.TicketChanged{
		ID:     m.id,
		Values: m.values(n+1, m.maker),
		New:    tracbus.Fields{"n": n + 1, "text": m.maker},
		Old:    tracbus.Fields{"n": n, "text": before},
	}, nil
}

func (m *item) Delete(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	n, live, before, err := m.write(ctx, tx, false)
	if err != nil || !live {
		return nil, err
	}
	values := m.values(n, before)
	values["by"] = m.maker // which a message of a deletion does not tell
	return tracbus.TicketDeleted{ID: m.id, Values: values}, nil
}

// write stores the ticket with whether it lives, unless it was dead and stays so,
// and returns what it was before.
func (m *item) write(ctx context.Context, tx *tracbus.ModelTransaction, lives bool) (n int64, live bool, maker string, err error) {
	query := "SELECT n, live, maker FROM attack_item WHERE id = ?"
	if tx.Dialect() != tracbus.SQLite {
		query += " FOR UPDATE"
	}
	if err := queryRow(ctx, tx, query, m.id).Scan(&n, &live, &maker); err != nil {
		return 0, false, "", err
	}
	if !live && !lives {
		return n, live, maker, nil
	}
	stored := 0
	if lives {
		stored = 1
	}
	err = execute(ctx, tx, "UPDATE attack_item SET n = ?, live = ?, maker = ? WHERE id = ?", n+1, stored, m.maker, m.id)
	m.changed = err == nil
	return n, live, maker, err
}

// values are all fields of the ticket. Some do nothing but have a type.
func (m *item) values(n int64, maker string) tracbus.Fields {
	return tracbus.Fields{
		"n": n, "text": maker, "summary": fmt.Sprintf("Ticket %d: it's \"quoted\", \u00fcml\u00e4uted \U0001F98A", m.id),
		"due": time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC), "open": true, "owner": nil, "estimate": json.Number("0.50"),
	}
}

// changePage stores the next version of a page, in a table in which no row
// stands for the page: only the journal's lock keeps two writers apart.
func changePage(ctx context.Context, tx *tracbus.ModelTransaction, name, maker string) error {
	if err := tx.Lock(ctx, tracbus.Resource{Realm: tracbus.RealmWiki, ID: name}); err != nil {
		return err
	}
	query := "SELECT version, maker FROM attack_page WHERE name = ? ORDER BY version DESC LIMIT 1"
	if tx.Dialect() == tracbus.MySQL {
		query += " LOCK IN SHARE MODE" // reads what is there now, whenever the transaction began
	}
	var version int64
	var before string
	if err := queryRow(ctx, tx, query, name).Scan(&version, &before); err != nil && err != sql.ErrNoRows {
		return err
	}
	if err := execute(ctx, tx, "INSERT INTO attack_page VALUES (?, ?, ?)", name, version+1, maker); err != nil {
		return err
	}
	page := tracbus.WikiPage{Name: name, Version: version + 1, Text: maker}
	if version == 0 {
		return tx.Record(ctx, tracbus.WikiPageCreated{Page: page})
	}
	return tx.Record(ctx, tracbus.WikiPageChanged{Page: page, OldText: before})
}
