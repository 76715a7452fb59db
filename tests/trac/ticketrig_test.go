package trac_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
)

// ticketRig is a journal in a database with Trac's tables.
type ticketRig struct {
	t        *testing.T
	dialect  tracbus.Dialect
	db       *sql.DB
	journal  *tracbus.Journal
	snapshot *tracbus.Snapshot // of db, as it is when it is read
	// times are the times of the transactions so far: t0, t1 …
	times map[int64]string
}

// newTicketRig returns a new database with Trac's tables, and a journal in it.
func newTicketRig(t *testing.T, s *testdatabase.Server, realms []tracbus.JournalRealm) *ticketRig {
	db, d := s.New(t), tracbus.Dialect(s.Dialect)
	for _, statement := range tracdatabase.Schema(d) {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	r := &ticketRig{t: t, dialect: d, db: db, times: map[int64]string{}}
	r.open(realms)
	return r
}

// open opens a journal, in the place of the one before.
func (r *ticketRig) open(realms []tracbus.JournalRealm) {
	bus := tracbus.NewBus("test")
	j, err := tracbus.OpenJournal(r.t.Context(), r.db, bus, tracbus.JournalConfig{Dialect: r.dialect, Realms: realms})
	require.NoError(r.t, err)
	r.t.Cleanup(func() {
		require.NoError(r.t, errors.Join(j.Close(context.Background()), bus.Close(context.Background())))
	})
	r.journal, r.snapshot = j, tracdatabase.Snapshot(r.t, bus, r.db)
}

// empty deletes all rows of Trac's tables, so that the next ticket is number 1.
func (r *ticketRig) empty() {
	statement := map[tracbus.Dialect]string{
		tracbus.SQLite:     "DELETE FROM %s",
		tracbus.PostgreSQL: "TRUNCATE %s RESTART IDENTITY",
		tracbus.MySQL:      "TRUNCATE %s",
	}[r.dialect]
	for _, table := range tracdatabase.Tables() {
		r.exec(fmt.Sprintf(statement, table))
	}
	clear(r.times)
}

func (r *ticketRig) exec(statement string) {
	r.t.Helper()
	_, err := r.db.ExecContext(r.t.Context(), statement)
	require.NoError(r.t, err, statement)
}

// update runs one transaction, and gives its time a name.
func (r *ticketRig) update(author string, fn func(context.Context, *tracbus.ModelTransaction) error) error {
	r.t.Helper()
	_, err := r.journal.Update(r.t.Context(), tracbus.Actor{Author: author}, func(tx *tracbus.ModelTransaction) error {
		r.times[tx.Time().UnixMicro()] = fmt.Sprintf("t%d", len(r.times))
		return fn(r.t.Context(), tx)
	})
	return err
}

// save saves models in one transaction and returns the event of it, if any.
func (r *ticketRig) save(author string, models ...tracbus.Model) (event tracbus.Event) {
	r.t.Helper()
	require.NoError(r.t, r.update(author, func(ctx context.Context, tx *tracbus.ModelTransaction) error {
		for _, m := range models {
			m, resource := numbered(m)
			save := tx.Save
			if _, ok := m.(trac.ChangeDelete); ok {
				save = tx.Delete
			}
			if d, ok := m.(deleted); ok {
				save, m = tx.Delete, d.Model
			}
			if err := save(ctx, m); err != nil {
				return err
			}
			event = r.pending(tx, resource())
		}
		return nil
	}))
	return event
}

// numbered has a new ticket tell its number.
func numbered(m tracbus.Model) (tracbus.Model, func() tracbus.Resource) {
	if c, ok := m.(trac.TicketCreate); ok {
		c.AssignedID = new(int64)
		return c, func() tracbus.Resource { return tracbus.TicketResource(*c.AssignedID) }
	}
	return m, m.Resource
}

// pending returns what the transaction will tell of a resource.
func (r *ticketRig) pending(tx *tracbus.ModelTransaction, resource tracbus.Resource) tracbus.Event {
	entry, ok := tx.Pending(resource)
	if !ok {
		return nil
	}
	event, err := tx.Realm(resource.Realm).Event(entry)
	require.NoError(r.t, err)
	return event
}

// fails saves a model and returns the error.
func (r *ticketRig) fails(m tracbus.Model) error {
	r.t.Helper()
	err := r.update("joe", func(ctx context.Context, tx *tracbus.ModelTransaction) error { return tx.Save(ctx, m) })
	require.ErrorIs(r.t, err, tracbus.ErrNotCommitted)
	return err
}

// rows returns what the tables of tickets hold, a line for each row, without
// columns of ticket that are NULL.
func (r *ticketRig) rows() (lines []string) {
	r.t.Helper()
	columns := append([]string{"id", "time", "changetime"}, columnFields()...)
	for _, row := range r.read("SELECT " + strings.Join(columns, ", ") + " FROM ticket ORDER BY id") {
		line := "ticket " + row[0]
		for i := 1; i < len(columns); i++ {
			if row[i] != "NULL" {
				line += " " + columns[i] + "=" + row[i]
			}
		}
		lines = append(lines, line)
	}
	for _, row := range r.read("SELECT ticket, name, value FROM ticket_custom ORDER BY ticket, name") {
		lines = append(lines, "custom "+row[0]+" "+row[1]+"="+row[2])
	}
	for _, row := range r.read("SELECT ticket, time, author, field, oldvalue, newvalue FROM ticket_change ORDER BY ticket, time, field") {
		lines = append(lines, "change "+strings.Join(row[:4], " ")+": "+row[4]+" > "+row[5])
	}
	return lines
}

// read returns rows as texts: 'text', NULL, a number, and times by their names.
func (r *ticketRig) read(query string) (table [][]string) {
	r.t.Helper()
	rows, err := r.db.QueryContext(r.t.Context(), query)
	require.NoError(r.t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(r.t, err)
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(r.t, rows.Scan(into...))
		row := make([]string, len(columns))
		for i, v := range values {
			if row[i] = "NULL"; v.Valid {
				row[i] = r.named(v.String)
			}
		}
		table = append(table, row)
	}
	require.NoError(r.t, rows.Err())
	return table
}

// named returns a time by the name of the transaction whose time it is, or
// which it stands a microsecond after.
func (r *ticketRig) named(s string) string {
	us, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return s
	}
	if name, ok := r.times[us]; ok {
		return name
	}
	if name, ok := r.times[us-1]; ok {
		return name + "+1"
	}
	return s
}

// load returns a ticket as a listener loads it.
func (r *ticketRig) load(id int64) tracbus.Fields {
	r.t.Helper()
	values, err := trac.LoadTicket(r.t.Context(), r.snapshot, id)
	require.NoError(r.t, err)
	return values
}

// columnFields returns the fields that are columns of the table ticket, without
// its times.
func columnFields() []string {
	return []string{
		"summary", "reporter", "owner", "description", "type", "status", "priority",
		"milestone", "component", "version", "severity", "resolution", "keywords", "cc",
	}
}
