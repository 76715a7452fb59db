package main

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac"
)

// ticketPage is what the page of a ticket shows.
type ticketPage struct {
	Ticket  *ticket // nil: it is gone, or never was
	HTML    template.HTML
	Form    ticketForm
	History history
	Problem string // with what was sent
}

func (s *site) showTicket(w http.ResponseWriter, r *http.Request) error {
	id, err := ticketID(r)
	if err != nil {
		return err
	}
	if at := r.FormValue("diff"); at != "" {
		return s.showDifferences(w, r, tracbus.TicketResource(id), at)
	}
	return s.ticketPage(w, r, http.StatusOK, id, nil, nil)
}

// ticketPage shows a ticket; after a change that was refused with what was sent,
// so that nothing is lost.
func (s *site) ticketPage(w http.ResponseWriter, r *http.Request, status int, id int64, sent *ticketForm, problem error) error {
	at, err := s.newest(r.Context())
	if err != nil {
		return err
	}
	page := ticketPage{}
	if page.History, err = s.historyOf(r, tracbus.TicketResource(id), fmt.Sprintf("/tickets/%d?", id)); err != nil {
		return err
	}
	title := fmt.Sprintf("#%d", id)
	page.Ticket, err = readTicket(r.Context(), s.db, s.db, id)
	switch {
	case errors.Is(err, tracbus.ErrNotFound):
		status = http.StatusNotFound
	case err != nil:
		return err
	default:
		title += " " + page.Ticket.Values["summary"]
		if page.HTML, err = s.html(r.Context(), page.Ticket.Values["description"]); err != nil {
			return err
		}
		page.Form = formOf(page.Ticket)
		if sent != nil {
			page.Form = sent.onto(page.Form)
		}
	}
	if problem != nil {
		page.Problem = problem.Error()
	}
	return s.show(w, r, status, "ticket.html", view{Title: title, Section: "tickets", Body: page, At: at})
}

func (s *site) showNewTicket(w http.ResponseWriter, r *http.Request) error {
	return s.newTicketPage(w, r, http.StatusOK, formOf(newTicket()), "")
}

func (s *site) newTicketPage(w http.ResponseWriter, r *http.Request, status int, form ticketForm, problem string) error {
	page := ticketPage{Form: form, Problem: problem}
	return s.show(w, r, status, "newticket.html", view{Title: "New ticket", Section: "new", Body: page})
}

func (s *site) createTicket(w http.ResponseWriter, r *http.Request) error {
	form := readForm(r)
	values := form.values()
	values["summary"] = form.Values["summary"]
	delete(values, "status") // a new ticket is new
	delete(values, "resolution")
	err := s.checkTicket(r, form, values)
	var id int64
	if err == nil {
		err = s.store(r, func(tx *tracbus.ModelTransaction) error {
			return tx.Save(r.Context(), trac.TicketCreate{AssignedID: &id, Set: values})
		})
	}
	if refused, ok := refusalOf(err); ok {
		return s.newTicketPage(w, r, refused.status, form, refused.text)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, fmt.Sprintf("/tickets/%d", id), http.StatusSeeOther)
	return nil
}

// changeTicket stores the fields that differ from what the form had shown, and no
// others: what somebody else changed meanwhile stays.
func (s *site) changeTicket(w http.ResponseWriter, r *http.Request) error {
	id, err := ticketID(r)
	if err != nil {
		return err
	}
	form := readForm(r)
	edit := trac.TicketEdit{ID: id, Set: form.changes(), Comment: form.Comment, Base: form.base()}
	err = s.checkTicket(r, form, edit.Set)
	if err == nil {
		err = s.store(r, func(tx *tracbus.ModelTransaction) error {
			return tx.Save(r.Context(), edit)
		})
	}
	if errors.Is(err, tracbus.ErrConflict) {
		err = refusal{http.StatusConflict, "Somebody else changed this ticket while you were writing; their change is below. Nothing of yours is stored yet: look at the form, and send it again."}
	}
	if refused, ok := refusalOf(err); ok {
		return s.ticketPage(w, r, refused.status, id, &form, refused)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, fmt.Sprintf("/tickets/%d", id), http.StatusSeeOther)
	return nil
}

func (s *site) deleteTicket(w http.ResponseWriter, r *http.Request) error {
	id, err := ticketID(r)
	if err == nil {
		err = mustSignIn(r, "delete tickets")
	}
	if err != nil {
		return err
	}
	form := readForm(r)
	err = s.store(r, func(tx *tracbus.ModelTransaction) error {
		return tx.Delete(r.Context(), trac.TicketEdit{ID: id, Base: form.base()})
	})
	if errors.Is(err, tracbus.ErrConflict) {
		err = refusal{http.StatusConflict, "Somebody changed this ticket after you had loaded it. Look at it again; it is not deleted."}
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/tickets", http.StatusSeeOther)
	return nil
}

// changeTickets changes the tickets that were ticked, all of them or none: one
// transaction, and one tid.
func (s *site) changeTickets(w http.ResponseWriter, r *http.Request) error {
	if err := mustSignIn(r, "change several tickets at once"); err != nil {
		return err
	}
	form := readForm(r)
	set := tracbus.Fields{}
	for name, value := range form.values() {
		if value != "" {
			set[name] = value
		}
	}
	ids, err := chosen(r)
	if err != nil {
		return err
	}
	if len(set) == 0 && form.Comment == "" {
		return refusal{http.StatusUnprocessableEntity, "There is nothing to change: fill in a field or the comment."}
	}
	if err := s.checkTexts(r, form, set); err != nil {
		return err
	}
	err = s.store(r, func(tx *tracbus.ModelTransaction) error {
		return s.storeBatch(r.Context(), tx, ids, set, form.Comment)
	})
	if errors.Is(err, tracbus.ErrNotFound) {
		return refusal{http.StatusNotFound, "One of these tickets does not exist any more. Nothing was stored."}
	} else if err != nil {
		return err
	}
	http.Redirect(w, r, localPath(r.PostFormValue("next")), http.StatusSeeOther)
	return nil
}

// chosen reads the numbers of the tickets that were ticked.
func chosen(r *http.Request) (ids []int64, err error) {
	for _, text := range r.PostForm["ticket"] {
		id, err := parseTicketID(text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if len(ids) == 0 || len(ids) > ticketsPerPage {
		return nil, refusal{http.StatusUnprocessableEntity, fmt.Sprintf("Tick the tickets to change, %d at most.", ticketsPerPage)}
	}
	return ids, nil
}

// storeBatch changes some tickets, within one transaction.
func (s *site) storeBatch(ctx context.Context, tx *tracbus.ModelTransaction, ids []int64, set tracbus.Fields, comment string) error {
	resources := make([]tracbus.Resource, len(ids))
	for i, id := range ids {
		resources[i] = tracbus.TicketResource(id)
	}
	if err := tx.Lock(ctx, resources...); err != nil { // all at first: two batches never wait for each other
		return err
	}
	for _, id := range ids {
		now, err := readTicket(ctx, tx.SQL(), s.db, id)
		if err != nil {
			return err
		}
		edit := trac.TicketEdit{ID: id, Set: maps.Clone(set), Comment: comment}
		closing(edit.Set, now.Values["resolution"])
		if err := tx.Save(ctx, edit); err != nil {
			return fmt.Errorf("ticket %d: %w", id, err)
		}
	}
	return nil
}

// ticketID reads the number in the path.
func ticketID(r *http.Request) (int64, error) { return parseTicketID(r.PathValue("id")) }

func parseTicketID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 32) // as wide as the column
	if err != nil || id < 1 {
		return 0, refusal{http.StatusNotFound, fmt.Sprintf("There is no ticket %q.", text)}
	}
	return id, nil
}

// ticketsPage is what the list of tickets shows.
type ticketsPage struct {
	ticketQuery
	Tickets []*ticket
	Older   int64 // the next page begins before it; 0: there is none
	Batch   []ticketField
}

func (s *site) showTickets(w http.ResponseWriter, r *http.Request) error {
	at, err := s.newest(r.Context())
	if err != nil {
		return err
	}
	page := ticketsPage{ticketQuery: readTicketQuery(r), Batch: batchFields()}
	if page.Tickets, page.Older, err = s.tickets(r.Context(), page.ticketQuery); err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "tickets.html", view{Title: "Tickets", Section: "tickets", Body: page, At: at})
}

// microseconds is a time as Trac's tables have it.
func microseconds(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }
