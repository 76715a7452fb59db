package main

import (
	"net/http"
)

// timelinePage is what the first page shows.
type timelinePage struct {
	Changes []change
	Older   int64 // the tid before which the next page begins; 0: there is none
	Newest  bool  // it shows the newest changes, and goes on by itself
}

const changesPerPage = 50

// showTimeline shows changes from the journal, the newest first.
func (s *site) showTimeline(w http.ResponseWriter, r *http.Request) error {
	before := beforeOf(r)
	page := timelinePage{Newest: before == 0}
	var at place
	for e, err := range s.journal.Before(r.Context(), before) {
		if err != nil {
			return err
		}
		c := changeOf(e)
		if n := len(page.Changes); n >= changesPerPage && page.Changes[n-1].Place.tid != c.Place.tid { // whole transactions
			page.Older = page.Changes[n-1].Place.tid
			break
		}
		if len(page.Changes) == 0 {
			at = c.Place
		}
		page.Changes = append(page.Changes, c)
	}
	return s.show(w, r, http.StatusOK, "timeline.html", view{Title: "Timeline", Section: "timeline", Body: page, At: at})
}
