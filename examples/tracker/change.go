package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/examples/tracker/internal/markup"
)

// change is an event of the journal as the pages show it.
type change struct {
	Place         place
	Resource      tracbus.Resource
	Kind          string
	Link          string // to what was changed
	Title         string // its name
	Summary       string // of a ticket
	What          string // was done to it
	Time          time.Time
	Author, IPNR  string
	Authenticated bool
	Comment       string
	Fields        []fieldChange
	Version       int64  // of a page; 0 of a ticket
	From          string // a renamed page's name before
	HasText       bool   // a text was changed: there are differences to show
}

// fieldChange is one field of a change, before and after.
type fieldChange struct{ Name, Old, New string }

// changeOf reads an event.
func changeOf(e tracbus.Event) change {
	about := e.About()
	c := change{
		Place: placeOf(about), Resource: e.Resource(), Kind: string(e.Kind()), What: string(e.Kind()),
		Title: shownLine(e.Resource().String()), Time: about.Time, Comment: about.Comment,
		Author: cmp.Or(shownLine(about.Author), anonymous), IPNR: about.IPNR, Authenticated: about.Authenticated,
	}
	switch e := e.(type) {
	case tracbus.TicketCreated:
		c.ticket(e.ID, e.Values)
	case tracbus.TicketChanged:
		c.ticket(e.ID, e.Values)
		c.fields(e.Old, e.New)
	case tracbus.TicketDeleted:
		c.ticket(e.ID, e.Values)
	case tracbus.TicketCommentEdited:
		c.ticket(e.ID, nil)
		c.What = "comment edited"
	case tracbus.TicketChangeDeleted:
		c.ticket(e.ID, nil)
		c.What = "change deleted"
		c.fields(e.Old, e.New)
	case tracbus.WikiPageCreated:
		c.page(e.Page)
		c.HasText = true
	case tracbus.WikiPageChanged:
		c.page(e.Page)
		c.HasText = e.Page.Text != e.OldText
		if !c.HasText {
			c.What = map[bool]string{true: "made read-only", false: "made writable"}[e.Page.Readonly]
		}
	case tracbus.WikiPageDeleted:
		c.page(e.Page)
	case tracbus.WikiPageRenamed:
		c.page(e.Page)
		c.What, c.From = "renamed", e.OldName
	case tracbus.WikiPageVersionDeleted:
		c.page(e.Page)
		c.What = fmt.Sprintf("version %d deleted", e.Page.Version)
	case tracbus.WikiPageCommentEdited:
		c.page(e.Page)
		c.What = "comment edited"
	}
	return c
}

// seenBy leaves out what a visitor is not to see: from where somebody wrote.
func (c change) seenBy(v visitor) change {
	if !v.Operator {
		c.IPNR = ""
	}
	return c
}

func (c *change) ticket(id int64, values tracbus.Fields) {
	c.Link = "/tickets/" + strconv.FormatInt(id, 10)
	c.Title = "#" + strconv.FormatInt(id, 10)
	c.Summary = shownLine(values.Text("summary"))
}

func (c *change) page(p tracbus.WikiPage) {
	c.Link, c.Title, c.Version = markup.PageLink(p.Name), shownLine(p.Name), p.Version
}

// fields notes what a ticket's change did. The description's differences have a
// page of their own.
func (c *change) fields(before, after tracbus.Fields) {
	both := maps.Clone(before)
	if both == nil {
		both = tracbus.Fields{}
	}
	maps.Copy(both, after)
	for _, name := range slices.Sorted(maps.Keys(both)) {
		if name == "description" {
			c.HasText = true
			continue
		}
		c.Fields = append(c.Fields, fieldChange{name, shown(before[name]), shown(after[name])})
	}
}

func shown(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case time.Time:
		return v.Format("2006-01-02 15:04 MST")
	}
	return shownLine(fmt.Sprint(v))
}

// textsOf returns the texts that an event changed, before and after.
func textsOf(e tracbus.Event) (before, after string) {
	switch e := e.(type) {
	case tracbus.TicketChanged:
		return e.Old.Text("description"), e.New.Text("description")
	case tracbus.WikiPageCreated:
		return "", e.Page.Text
	case tracbus.WikiPageChanged:
		return e.OldText, e.Page.Text
	}
	return "", ""
}

// history is what was done to a resource, a page of it.
type history struct {
	Changes []change // the newest first
	Older   int64    // the tid before which the next page begins; 0: there is none
	Link    string   // to the same page, as far as its query
}

const historyPerPage = 50

// historyOf reads from the journal what was done to a resource, also if it is gone by
// now: the page of it that a request is for.
func (s *site) historyOf(r *http.Request, resource tracbus.Resource, link string) (history, error) {
	h := history{Link: link}
	for e, err := range s.journal.HistoryBefore(r.Context(), resource, beforeOf(r)) {
		if err != nil {
			return h, err
		}
		if n := len(h.Changes); n == historyPerPage {
			h.Older = h.Changes[n-1].Place.tid
			break
		}
		h.Changes = append(h.Changes, changeOf(e).seenBy(visitorOf(r)))
	}
	return h, nil
}

// beforeOf reads where a page begins: before a tid. 0 is the newest.
func beforeOf(r *http.Request) int64 {
	before, _ := strconv.ParseInt(r.FormValue("before"), 10, 64)
	return max(before, 0)
}

// eventAt reads one change of a resource from the journal. A place that is not in
// it is an ErrNotFound.
func (s *site) eventAt(ctx context.Context, r tracbus.Resource, p place) (tracbus.Event, error) {
	for e, err := range s.journal.Since(ctx, p.tid-1) {
		if err != nil {
			return nil, err
		}
		at := placeOf(e.About())
		if at == p && e.Resource() == r {
			return e, nil
		}
		if p.before(at) {
			break
		}
	}
	return nil, fmt.Errorf("change %s of %s: %w", p, r, tracbus.ErrNotFound)
}
