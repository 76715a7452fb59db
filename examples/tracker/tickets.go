package main

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/examples/tracker/internal/markup"
)

// ticketPage is what the page of a ticket shows.
type ticketPage struct {
	Ticket  *ticket // nil: it is gone, or never was
	HTML    template.HTML
	Form    ticketForm
	History []change
	Problem string // with what was sent
}

func (s *site) showTicket(w http.ResponseWriter, r *http.Request) error {
	id, err := ticketID(r)
	if err != nil {
		return err
	}
	if at := r.FormValue("diff"); at != "" {
		return s.showDifferences(w, r, tracbus.Ticket(id), at)
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
	if page.History, err = s.historyOf(r.Context(), tracbus.Ticket(id)); err != nil {
		return err
	}
	title := fmt.Sprintf("#%d", id)
	page.Ticket, err = s.ticket(r.Context(), id)
	switch {
	case errors.Is(err, tracbus.ErrNotFound):
		status = http.StatusNotFound
	case err != nil:
		return err
	default:
		title += " " + page.Ticket.Values["summary"]
		if page.HTML, err = markup.HTML(page.Ticket.Values["description"], s.pages.Get(), s.links); err != nil {
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
	err := s.checkTicket(r, form, values)
	var id int64
	if err == nil {
		err = s.update(r.Context(), whoOf(r), func(tx *tracbus.ModelTransaction) error {
			return tx.Save(r.Context(), tracbus.TicketEdit{NewID: &id, Set: values})
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
	edit := tracbus.TicketEdit{ID: id, Set: form.changes(), Comment: form.Comment, Base: form.base()}
	err = s.checkTicket(r, form, edit.Set)
	if err == nil {
		err = s.update(r.Context(), whoOf(r), func(tx *tracbus.ModelTransaction) error {
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
	err = s.update(r.Context(), whoOf(r), func(tx *tracbus.ModelTransaction) error {
		return tx.Delete(r.Context(), tracbus.TicketEdit{ID: id})
	})
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
	var ids []int64
	var resources []tracbus.Resource
	for _, text := range r.PostForm["ticket"] {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return refusal{http.StatusBadRequest, fmt.Sprintf("%q is no number of a ticket.", text)}
		}
		ids, resources = append(ids, id), append(resources, tracbus.Ticket(id))
	}
	switch {
	case len(ids) == 0 || len(ids) > 500:
		return refusal{http.StatusUnprocessableEntity, "Tick the tickets to change, 500 at most."}
	case len(set) == 0 && form.Comment == "":
		return refusal{http.StatusUnprocessableEntity, "There is nothing to change: fill in a field or the comment."}
	}
	closing(set)
	if err := s.checkTexts(r, form, set); err != nil {
		return err
	}
	ctx := r.Context()
	err := s.update(ctx, whoOf(r), func(tx *tracbus.ModelTransaction) error {
		if err := tx.Lock(ctx, resources...); err != nil { // all at first: two batches never wait for each other
			return err
		}
		for _, id := range ids {
			if err := tx.Save(ctx, tracbus.TicketEdit{ID: id, Set: set, Comment: form.Comment}); err != nil {
				return fmt.Errorf("ticket %d: %w", id, err)
			}
		}
		return nil
	})
	if errors.Is(err, tracbus.ErrNotFound) {
		return refusal{http.StatusNotFound, "One of these tickets does not exist any more. Nothing was stored."}
	} else if err != nil {
		return err
	}
	http.Redirect(w, r, localPath(r.PostFormValue("next")), http.StatusSeeOther)
	return nil
}

// ticketID reads the number in the path.
func ticketID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 32)
	if err != nil || id < 1 {
		return 0, refusal{http.StatusNotFound, fmt.Sprintf("There is no ticket %q.", r.PathValue("id"))}
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

// checkTicket refuses what a ticket cannot be, and what a page forbids.
func (s *site) checkTicket(r *http.Request, form ticketForm, set tracbus.Fields) error {
	if summary, ok := set["summary"]; ok && summary == "" {
		return refusal{http.StatusUnprocessableEntity, "The summary is empty: expected what the ticket is about."}
	}
	return s.checkTexts(r, form, set)
}

func (s *site) checkTexts(r *http.Request, form ticketForm, set tracbus.Fields) error {
	text := form.Comment
	for name, value := range set {
		v, _ := value.(string)
		if most := fieldOf(name).most(); len(v) > most {
			return refusal{http.StatusUnprocessableEntity, fmt.Sprintf("The field %q is too long: expected %d bytes at most.", name, most)}
		}
		text += "\n" + v
	}
	return s.checkContent(r, text)
}

// checkContent refuses what the page BadContent forbids, which every process knows
// as soon as it is changed in one of them, and authors who are not who they say.
func (s *site) checkContent(r *http.Request, text string) error {
	who := whoOf(r)
	if pattern, bad := s.bad.Match(who.Author + "\n" + text); bad {
		return refusal{http.StatusUnprocessableEntity, fmt.Sprintf("That is refused: the page BadContent forbids %q. Nothing was stored.", pattern)}
	}
	if len(who.Author) > 100 || strings.ContainsFunc(who.Author, unicode.IsControl) {
		return refusal{http.StatusUnprocessableEntity, "That is no name: expected one line, 100 bytes at most. Nothing was stored."}
	}
	if who.Authenticated {
		return nil
	}
	known, err := s.passwordOf(r.Context(), who.Author)
	if err == nil && known != nil {
		err = refusal{http.StatusForbidden, fmt.Sprintf("%q is somebody's account: sign in, or choose another name. Nothing was stored.", who.Author)}
	}
	return err
}

func (s *site) ticket(ctx context.Context, id int64) (*ticket, error) {
	all, _, err := s.tickets(ctx, ticketQuery{id: id})
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("ticket %d: %w", id, tracbus.ErrNotFound)
	}
	return all[0], nil
}

// microseconds is a time as Trac's tables have it.
func microseconds(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }
