package main

import (
	"context"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testkit"
	"golang.org/x/crypto/bcrypt"
)

// costRoute is how the texts of a route are sent: those of the forms on some pages, with all
// that has a name there, and of the address.
type costRoute struct {
	pages  []string // with a form; it is sent to the address that it has
	to     string   // begins the address of the form
	path   string   // without a form
	query  []string
	header []string
	form   string // that stands on no page now, as it would be sent to to
	none   string // why it takes no text
}

// costRoutes has every route: TestCost fails for one that is not in it.
func costRoutes() map[string]costRoute {
	return map[string]costRoute{
		"GET /{$}":                  {path: "/", query: []string{"before"}, header: []string{"Cookie", "Referer"}},
		"GET /tickets":              {path: "/tickets", query: []string{"q", "status", "before"}},
		"GET /tickets/new":          {path: "/tickets/new", query: []string{"x"}},
		"POST /tickets/new":         {pages: []string{"/tickets/new"}, to: "/tickets/new"},
		"POST /tickets/batch":       {pages: []string{"/tickets"}, to: "/tickets/batch"},
		"GET /tickets/{id}":         {path: "/tickets/1", query: []string{"diff", "before"}},
		"POST /tickets/{id}":        {pages: []string{"/tickets/1"}, to: "/tickets/1"},
		"POST /tickets/{id}/delete": {pages: []string{"/tickets/1"}, to: "/tickets/1/delete"},
		"GET /wiki":                 {path: "/wiki", query: []string{"x"}},
		"POST /wiki":                {pages: []string{"/wiki"}, to: "/wiki"},
		"GET /wiki/{name...}":       {path: "/wiki/WikiStart", query: []string{"diff", "version", "action", "before"}},
		"POST /wiki/{name...}": {pages: []string{"/wiki/WikiStart?action=edit", "/wiki/WikiStart?action=rename", "/wiki/InterMapTxt?action=edit",
			"/wiki/BadContent?action=edit"}, to: "/wiki/"},
		"GET /status":   {path: "/status", query: []string{"x"}},
		"POST /status":  {pages: []string{"/status"}, to: "/status", form: "do=retry&name=mail&tid=1&seq=0"},
		"GET /account":  {path: "/account", query: []string{"next"}},
		"POST /account": {pages: []string{"/account"}, to: "/account"},
		"/":             {path: "/nothing", query: []string{"x"}},
		"GET /static/":  {path: "/static/live.js", none: "serves files of the program"},
		"GET /changes":  {path: "/changes", query: []string{"after"}, header: []string{"Last-Event-ID"}},
	}
}

// worst are the texts that cost most, by what they are made of.
func worst() map[string]string {
	return map[string]string{
		"quotations": ">", "lists": "- ", "numbered": "1. ", "brackets": "[", "links": "[a](b)", "open links": "[a](", "stars": "*a ", "underlines": "_a",
		"ticks": "`", "pipes": "|", "rows": "|a|b|\n", "lines": "a\n", "empty lines": "\n", "prefixes": "PEP:8 ", "tickets": "#1 ", "pages": "WikiStart ", "missing": "wiki:X ",
		"addresses": "http://a.b ", "escapes": "<&\"'", "references": "[x]: /y\n", "people": "a@b,", "expressions": "[^z]{0,9}z\n", "wide": "\ufdfa", "accents": "a\u0301", "tildes": "~~a",
	}
}

// filled is a text of so many bytes, made of one.
func filled(part string, size int) string {
	return strings.Repeat(part, size/len(part)+1)[:size/len(part)*len(part)]
}

var (
	costForm    = regexp.MustCompile(`(?s)<form[^>]* action="([^"]*)".*?</form>`)
	costControl = regexp.MustCompile(`<(?:input|textarea|select|button)[^>]* name="([^"]+)"(?:[^>]* value="([^"]*)")?`)
)

// costOf sends a request and returns how much memory was allocated for it, by the client too.
func costOf(t *testing.T, c *client, r *http.Request) (status int, bytes uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	response, err := c.http.Do(r)
	if err != nil { // the server did not wait for the end of what is too long
		require.Greater(t, r.ContentLength+int64(len(r.URL.RawQuery)+headerBytes(r)), int64(mostForm), "%s %s: %v", r.Method, r.URL.Path, err)
		return http.StatusRequestEntityTooLarge, 0
	}
	defer response.Body.Close()
	if response.Header.Get("Content-Type") != "text/event-stream" {
		_, _ = io.Copy(io.Discard, response.Body)
	}
	runtime.ReadMemStats(&after)
	return response.StatusCode, after.TotalAlloc - before.TotalAlloc
}

func headerBytes(r *http.Request) (n int) {
	for name, values := range r.Header {
		n += len(name) + len(strings.Join(values, ""))
	}
	return n
}

// Every text that a visitor may send, to whatever page, costs no more than in proportion to
// its length, whatever it is; above a length it is refused.
func TestCost(t *testing.T) {
	testkit.MeasuresMemory(t)
	s, p := newInside(t, settings{})
	s.signIns.pairs.free, s.signIns.names.free, s.signIns.addresses.free = 1<<30, 1<<30, 1<<30
	s.compare = func(_, _ []byte) error { return bcrypt.ErrMismatchedHashAndPassword }
	c := newClient(t, p)
	c.signIn("ann")
	c.ticket("summary", "x")
	c.send("/wiki/InterMapTxt?action=edit", "/wiki/InterMapTxt", "do", "save", "text", "----\nPEP https://peps.python.org/pep-$1/ # PEP $1\n----\n")

	routes := costRoutes()
	registered := slices.Sorted(maps.Keys(s.routes()))
	registered = append(registered, slices.Sorted(maps.Keys(s.others()))...)
	assert.ElementsMatch(t, registered, slices.Collect(maps.Keys(routes)), "a route that is in no table is not looked at")

	const small, large, huge = 8 << 10, 60 << 10, 1 << 20
	fields := 0
	most := map[string]string{} // how much each took
	check := func(name string, long bool, request func(text string) *http.Request) {
		fields++
		parts, factor := worst(), uint64(costOfMarkup)
		var top uint64
		if !long { // what is refused for its length, or looked at in one way
			factor = costOfLine
			parts = map[string]string{"stars": "*a ", "accents": "a\u0301", "people": "a@b,"}
		}
		for kind, part := range parts {
			_, less := costOf(t, c, request(filled(part, small)))
			status, more := costOf(t, c, request(filled(part, large)))
			if more > top {
				top = more
				most[name] = fmt.Sprintf("%4d times %s, %d kB", more/large, kind, more>>10)
			}
			assert.Less(t, status, 500, "%s of %s", name, kind)
			assert.Less(t, more, factor*large+less, "bytes for %s of %s; for 8 KiB, with all that the page shows, %d", name, kind, less)
			assert.Less(t, more, 10*less+4<<20, "bytes for %s of %s, whose eighth took %d", name, kind, less)
		}
		status, bytes := costOf(t, c, request(filled("*a ", huge)))
		assert.Contains(t, []int{http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge, http.StatusRequestURITooLong, http.StatusBadRequest}, status, "%s of 1 MiB", name)
		assert.Less(t, bytes, factor*huge, name)
	}
	get := func(path string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
		require.NoError(t, err)
		return r
	}
	for route, how := range routes {
		for _, name := range how.query {
			check(route+"?"+name, false, func(text string) *http.Request {
				return get(how.path + "?" + url.Values{name: {text}}.Encode())
			})
		}
		for _, name := range how.header {
			check(route+" "+name, false, func(text string) *http.Request {
				r := get(how.path)
				r.Header.Set(name, strings.ReplaceAll(text, "\n", " "))
				return r
			})
		}
		for _, page := range how.pages {
			shown := c.get(page)
			found := false
			if how.form != "" {
				shown.body += `<form action="` + how.to + `">`
				for name, value := range must(t, how.form) {
					shown.body += `<input name="` + name + `" value="` + value[0] + `">`
				}
				shown.body += `<input name="token" value="` + shown.hidden().Get("token") + `"></form>`
			}
			for _, form := range costForm.FindAllStringSubmatch(shown.body, -1) {
				to := html.UnescapeString(form[1])
				if to != how.to && !(strings.HasSuffix(how.to, "/") && strings.HasPrefix(to, how.to)) {
					continue
				}
				values := url.Values{}
				for _, control := range costControl.FindAllStringSubmatch(form[0], -1) {
					if !values.Has(control[1]) {
						values.Set(control[1], html.UnescapeString(control[2]))
					}
				}
				if values.Has("summary") {
					values.Set("summary", "x")
				}
				found = true
				for name := range values {
					isLong := strings.Contains(form[0], `<textarea id="`+name+`"`)
					check(route+" "+name+" on "+page, isLong, func(text string) *http.Request {
						now := maps.Clone(values)
						maps.DeleteFunc(now, func(name string, _ []string) bool { return strings.Contains(form[0], `<select id="`+name+`"`) })
						now.Set("base", "0")
						page, to := page, to
						if isLong && to == "/tickets/1" { // a page shows its history too, which is to be none here
							id := fmt.Sprint("/tickets/", c.ticket("summary", "x"))
							page, to = id, id
						}
						if fresh := c.get(page).hidden(); fresh.Has("base") && values.Has("base") {
							now.Set("base", fresh.Get("base"))
						}
						now.Set(name, text)
						r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, p.url+to, strings.NewReader(now.Encode()))
						require.NoError(t, err)
						r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
						return r
					})
				}
			}
			assert.True(t, found, "there is no form for %s on %s", route, page)
		}
		assert.True(t, how.none != "" || len(how.query)+len(how.pages) > 0, route)
	}
	assert.Greater(t, fields, 50, fmt.Sprint("texts of ", len(routes), " routes"))
	for _, name := range slices.Sorted(maps.Keys(most)) {
		t.Logf("%-60s %s", name, most[name])
	}
}

// must reads the fields of a form.
func must(t *testing.T, form string) url.Values {
	t.Helper()
	values, err := url.ParseQuery(form)
	require.NoError(t, err)
	return values
}

// How many bytes may be allocated for each that is sent. Markup that is all links is parsed
// to a tree and becomes a page of ten times its length.
const (
	costOfLine   = 96
	costOfMarkup = 640
)
