package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tracbus/tracbus"
)

const (
	mostText    = 64 << 10 // bytes of a page or description
	mostComment = 16 << 10
	mostLine    = 1000 // characters of a field on one line
)

// checkTicket refuses what a ticket cannot be, and what a page forbids.
func (s *site) checkTicket(r *http.Request, form ticketForm, set tracbus.Fields) error {
	if summary, ok := set["summary"]; ok && summary == "" {
		return refusal{http.StatusUnprocessableEntity, "The summary is empty: expected what the ticket is about."}
	}
	return s.checkTexts(r, form, set)
}

func (s *site) checkTexts(r *http.Request, form ticketForm, set tracbus.Fields) error {
	var text strings.Builder
	for name, value := range set {
		v, _ := value.(string)
		text.WriteString(v + "\n")
		f := fieldOf(name)
		switch {
		case f.Long && len(v) > mostText:
			return refusal{http.StatusUnprocessableEntity, fmt.Sprintf("The field %q is too long: expected %d KiB at most.", name, mostText>>10)}
		case !f.Long && utf8.RuneCountInString(v) > mostLine:
			return refusal{http.StatusUnprocessableEntity, fmt.Sprintf("The field %q is too long: expected %d characters at most.", name, mostLine)}
		case !f.Long && checkLine(name, v) != nil:
			return checkLine(name, v)
		case f.Options != nil && !slices.Contains(f.Options, v):
			return refusal{http.StatusUnprocessableEntity, fmt.Sprintf("The field %q cannot be %.100q: expected one of %q.", name, v, f.Options)}
		}
		if to := mailboxes(v); (name == "owner" || name == "cc") && len(to) > mostMailboxes {
			return refusal{http.StatusUnprocessableEntity, fmt.Sprintf("The field %q has too many people: expected %d at most.", name, mostMailboxes)}
		}
	}
	return s.checkContent(r, form.Comment, text.String())
}

// checkContent refuses what the page BadContent forbids, which every process knows
// as soon as it is changed in one of them, and authors who are not who they say.
// The name of the author is forbidden by it, too.
func (s *site) checkContent(r *http.Request, comment, text string) error {
	who, err := s.author(r)
	switch {
	case err != nil:
		return err
	case len(comment) > mostComment:
		return refusal{http.StatusUnprocessableEntity, fmt.Sprintf("The comment is too long: expected %d KiB at most. Nothing was stored.", mostComment>>10)}
	}
	pattern, bad, err := s.search(r.Context(), searchLimit, who.Author+"\n"+comment+"\n"+text)
	if bad {
		return refusal{http.StatusUnprocessableEntity, fmt.Sprintf("That is refused: the page BadContent forbids %q. Nothing was stored.", pattern)}
	}
	return err
}

// searchLimit is for how long a text is searched for what is forbidden, and waits for
// that.
const searchLimit = 5 * time.Second

// search looks for what the page BadContent forbids. It has slots of its own: however
// long its expressions take, pages are shown and people sign in.
func (s *site) search(ctx context.Context, limit time.Duration, text string) (pattern string, bad bool, err error) {
	searching, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = s.searching.do(searching, func() (err error) {
		pattern, bad, err = s.bad.Match(searching, text)
		return err
	})
	if err != nil && ctx.Err() == nil {
		err = refusal{http.StatusServiceUnavailable, "The text could not be searched for what the page BadContent forbids: that takes too long. Nothing was stored. Try again; if that does not help, tell an operator."}
	}
	return pattern, bad, err
}
