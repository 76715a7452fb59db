package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/examples/internal/tracdb"
)

// ticket is a row of Trac's table, for pages to show.
type ticket struct {
	ID               int64
	Created, Changed time.Time
	Values           map[string]string
}

// ticketColumns are those of the table that pages show as texts.
func ticketColumns() []string {
	names := []string{"reporter"}
	for _, f := range ticketFields() {
		names = append(names, f.Name)
	}
	return names
}

func selectTickets() string {
	return "SELECT id, time, changetime, " + strings.Join(ticketColumns(), ", ") + " FROM ticket"
}

// ticketQuery says which tickets to list.
type ticketQuery struct {
	Status string // "open", "closed" or "all"
	Text   string // in the summary or keywords
	before int64  // the numbers begin below it; 0: at the newest
}

const ticketsPerPage = 50

func readTicketQuery(r *http.Request) ticketQuery {
	q := ticketQuery{Status: r.FormValue("status"), Text: strings.TrimSpace(r.FormValue("q"))}
	if text := []rune(q.Text); len(text) > 200 {
		q.Text = string(text[:200])
	}
	if q.Status != "closed" && q.Status != "all" {
		q.Status = "open"
	}
	q.before, _ = strconv.ParseInt(r.FormValue("before"), 10, 32) // else the first page
	return q
}

// tickets reads a page of tickets, the newest first. older is where the next one
// begins, or 0.
func (s *site) tickets(ctx context.Context, q ticketQuery) (all []*ticket, older int64, err error) {
	statement := selectTickets() + " WHERE 1 = 1"
	var args []any
	where := func(condition string, values ...any) {
		statement += " AND " + condition
		args = append(args, values...)
	}
	switch q.Status {
	case "open":
		where("(status IS NULL OR status <> 'closed')")
	case "closed":
		where("status = 'closed'")
	}
	if q.Text != "" {
		like := "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(q.Text) + "%"
		where("(LOWER(summary) LIKE LOWER(?) ESCAPE '!' OR LOWER(keywords) LIKE LOWER(?) ESCAPE '!')", like, like)
	}
	if q.before > 0 {
		where("id < ?", q.before)
	}
	rows, err := s.db.QueryContext(ctx, s.db.SQL(statement+" ORDER BY id DESC LIMIT ?"), append(args, ticketsPerPage+1)...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		t, err := scanTicket(rows)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, t)
	}
	if len(all) > ticketsPerPage {
		all = all[:ticketsPerPage]
		older = all[ticketsPerPage-1].ID
	}
	return all, older, errors.Join(rows.Err(), rows.Close())
}

// readTicket reads one ticket, within a transaction or without one. Where there is
// none, the error is an ErrNotFound.
func readTicket(ctx context.Context, q tracbus.SQL, db *tracdb.DB, id int64) (*ticket, error) {
	rows, err := q.QueryContext(ctx, db.SQL(selectTickets()+" WHERE id = ?"), id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, cmp.Or(rows.Err(), fmt.Errorf("ticket %d: %w", id, tracbus.ErrNotFound))
	}
	t, err := scanTicket(rows)
	return t, errors.Join(err, rows.Close())
}

func scanTicket(rows *sql.Rows) (*ticket, error) {
	names := ticketColumns()
	t := &ticket{Values: make(map[string]string, len(names))}
	var created, changed sql.NullInt64
	texts := make([]sql.NullString, len(names))
	into := []any{&t.ID, &created, &changed}
	for i := range texts {
		into = append(into, &texts[i])
	}
	if err := rows.Scan(into...); err != nil {
		return nil, err
	}
	t.Created, t.Changed = time.UnixMicro(created.Int64), time.UnixMicro(changed.Int64)
	for i, name := range names {
		t.Values[name] = texts[i].String
	}
	return t, nil
}
