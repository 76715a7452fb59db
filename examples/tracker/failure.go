package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac"
)

// refusal is an error that the visitor can do something about.
type refusal struct {
	status int
	text   string
}

func (e refusal) Error() string { return e.text }

// refusalOf says to the visitor what an error means, where it means something to
// them. What became of a change stands in the error of Update.
func refusalOf(err error) (refusal, bool) {
	var refused refusal
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &refused):
		return refused, true
	case errors.As(err, &long):
		return refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("That is too long: expected %d KiB at most. Nothing was stored.", long.Limit>>10)}, true
	case errors.Is(err, tracbus.ErrConflict):
		return refusal{http.StatusConflict, "Somebody else was faster. Nothing was stored."}, true
	case errors.Is(err, trac.ErrPageExists):
		return refusal{http.StatusConflict, "A page of that name exists. Nothing was stored."}, true
	case errors.Is(err, tracbus.ErrInvalidPageName):
		return refusal{http.StatusUnprocessableEntity, "A page cannot have that name: expected parts between slashes, none of them empty, . or .."}, true
	case errors.Is(err, tracbus.ErrNotFound):
		return refusal{http.StatusNotFound, "That does not exist, or not any more. Nothing was stored."}, true
	case errors.Is(err, tracbus.ErrCommitUnknown):
		return refusal{http.StatusServiceUnavailable, "The database did not say whether your change is stored. Look before you send it again."}, true
	case errors.Is(err, tracbus.ErrPruned):
		return refusal{http.StatusGone, "The journal does not go back that far any more."}, true
	case errors.Is(err, context.DeadlineExceeded) && errors.Is(err, tracbus.ErrNotCommitted):
		return refusal{http.StatusServiceUnavailable, "The database took too long; perhaps somebody else is changing the same. Nothing was stored."}, true
	case errors.Is(err, tracbus.ErrJournalClosed):
		return refusal{http.StatusServiceUnavailable, "This process is about to end. Nothing was stored; try again."}, true
	}
	return refusal{}, false
}

// failure is what the page of an error shows.
type failure struct {
	Text   string
	SignIn string // where that may help
	Sent   []sent
}

// sent is a text of a form that was refused: nobody should write it again.
type sent struct{ Name, Text string }

func sentBy(r *http.Request) (all []sent) {
	for _, name := range []string{"summary", "description", "text", "comment"} {
		if text := r.PostForm.Get(name); strings.TrimSpace(text) != "" && utf8.ValidString(text) {
			all = append(all, sent{name, text})
		}
	}
	return all
}

// cameFrom returns the page that the visitor has seen before: that of a form has
// no address of its own.
func cameFrom(r *http.Request) string {
	if r.Method == http.MethodGet {
		return r.URL.RequestURI()
	}
	from, err := url.Parse(r.Referer())
	if err != nil || from.Host != r.Host {
		return "/"
	}
	return localPath(from.RequestURI())
}

// fail answers with what an error means.
func (s *site) fail(w http.ResponseWriter, r *http.Request, err error) {
	refused, ok := refusalOf(err)
	if !ok {
		if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
			return // nobody waits for an answer
		}
		slog.Error("a request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		refused = refusal{http.StatusInternalServerError, "Something went wrong; the log of the tracker says what."}
		if errors.Is(err, tracbus.ErrNotCommitted) {
			refused.text += " Nothing was stored."
		}
	}
	body := failure{Text: refused.text, Sent: sentBy(r)}
	if refused.status == http.StatusForbidden && visitorOf(r).Name == "" {
		body.SignIn = "/account?next=" + url.QueryEscape(cameFrom(r))
	}
	v := view{Title: http.StatusText(refused.status), Body: body}
	if err := s.show(w, r, refused.status, "failure.html", v); err != nil {
		slog.Error("a failure cannot be shown", "err", err)
		http.Error(w, refused.text, refused.status)
	}
}
