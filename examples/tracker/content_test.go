package main

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/pages"
)

// Whatever the page BadContent has people wait for, pages are shown, and whatever pages
// wait for, a text is searched. A search that takes too long refuses the text.
func TestSearchesHaveSlotsOfTheirOwn(t *testing.T) {
	c := &changes{pages: pages.NewIndex(pages.Config{}), links: pages.NewInterMap(pages.InterMapConfig{}), bad: pages.NewBadContent(pages.Config{})}
	require.NoError(t, c.bad.WikiPageCreated(t.Context(), tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: "BadContent", Version: 1, Text: "{{{\ncas.no\n}}}"}}))
	s := newSite(c, nil, settings{}, "")
	fill := func(taken slots) (leave func()) {
		for range cap(taken) {
			taken <- struct{}{}
		}
		return func() {
			for range cap(taken) {
				<-taken
			}
		}
	}

	leave := fill(s.rendering)
	pattern, bad, err := s.search(t.Context(), patience, "a casino")
	assert.NoError(t, err)
	assert.True(t, bad)
	assert.Equal(t, "cas.no", pattern)
	leave()

	leave = fill(s.searching)
	html, err := s.html(t.Context(), "a *page*")
	assert.NoError(t, err)
	assert.Contains(t, string(html), "<em>page</em>")
	_, bad, err = s.search(t.Context(), -time.Second, "a casino")
	leave()
	assert.False(t, bad)
	refused, ok := refusalOf(err)
	assert.True(t, ok)
	assert.Equal(t, http.StatusServiceUnavailable, refused.status)

	_, _, err = s.search(t.Context(), -time.Second, "a book")
	refused, ok = refusalOf(err)
	assert.True(t, ok, "the search itself is late")
	assert.Equal(t, http.StatusServiceUnavailable, refused.status)

	gone, end := context.WithCancel(t.Context())
	end()
	_, _, err = s.search(gone, patience, "a book")
	assert.ErrorIs(t, err, context.Canceled, "nobody waits for an answer")
}
