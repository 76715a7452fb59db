package main

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"github.com/tracbus/tracbus"
)

// differences is what a change did to a text.
type differences struct {
	Change change
	Hunks  []hunk
}

// hunk is some lines that differ, with their neighbours.
type hunk struct {
	From, To int // lines, from 1
	Lines    []diffLine
}

// diffLine is a line that came ("+"), went ("-") or stayed (" ").
type diffLine struct{ Mark, Text string }

// showDifferences shows what one change did to a page's text or a ticket's
// description. Both texts stand in the journal.
func (s *site) showDifferences(w http.ResponseWriter, r *http.Request, resource tracbus.Resource, at string) error {
	p, ok := parsePlace(at)
	if !ok || p.tid < 1 {
		return refusal{http.StatusBadRequest, fmt.Sprintf("%q is no place of a change.", at)}
	}
	e, err := s.eventAt(r.Context(), resource, p)
	if err != nil {
		return err
	}
	d := differences{Change: changeOf(e).seenBy(visitorOf(r))}
	before, after := textsOf(e)
	if d.Hunks, err = hunks(lines(before), lines(after)); err != nil {
		return err
	}
	section := "tickets"
	if resource.Realm == tracbus.RealmWiki {
		section = "wiki"
	}
	return s.show(w, r, http.StatusOK, "differences.html", view{Title: "Differences of " + d.Change.Title, Section: section, Body: d})
}

// lines returns a text with the line ends of Unix, also behind the last line.
func lines(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text
}

func hunks(before, after string) (all []hunk, err error) {
	d, err := udiff.ToUnifiedDiff("before", "after", before, udiff.Lines(before, after), udiff.DefaultContextLines)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	for _, h := range d.Hunks {
		next := hunk{From: h.FromLine, To: h.ToLine}
		for _, l := range h.Lines {
			mark := map[udiff.OpKind]string{udiff.Delete: "-", udiff.Insert: "+", udiff.Equal: " "}[l.Kind]
			next.Lines = append(next.Lines, diffLine{mark, strings.TrimSuffix(l.Content, "\n")})
		}
		all = append(all, next)
	}
	return all, nil
}
