package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/tests/testdatabase"
)

// What no page of this site sends is refused, says why, and stores nothing.
func TestRefusals(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		t.Parallel()
		p := newRig(t, s).start()
		c := newClient(t, p)
		c.ticket("summary", "the first")
		long := strings.Repeat("x", 2000)
		for _, tc := range []struct {
			name, page, to string
			fields         []string
			status         int
			want           string
		}{
			{"no token", "/tickets/new", "/tickets/new", []string{"summary", "x", "token", ""}, 403, "not from a page that you have open"},
			{"another token", "/tickets/new", "/tickets/new", []string{"summary", "x", "token", "x"}, 403, "not from a page that you have open"},
			{"too long", "/tickets/new", "/tickets/new", []string{"summary", "x", "description", strings.Repeat(long, 600)}, 413, "expected 1024 KiB at most"},
			{"a long field", "/tickets/new", "/tickets/new", []string{"summary", long}, 422, `The field "summary" is too long: expected 1000 characters`},
			{"zero byte", "/tickets/new", "/tickets/new", []string{"summary", "a\x00b"}, 400, `The field "summary" is no text`},
			{"no UTF-8", "/tickets/new", "/tickets/new", []string{"summary", "a\xffb"}, 400, `The field "summary" is no text`},
			{"no summary", "/tickets/new", "/tickets/new", []string{"summary", " "}, 422, "The summary is empty"},
			{"summary taken away", "/tickets/1", "/tickets/1", []string{"summary", "", "was-summary", "the first"}, 422, "The summary is empty"},
			{"a long name", "/tickets/1", "/tickets/1", []string{"comment", "x", "author", long}, 422, "is no name"},
			{"two lines in a name", "/tickets/1", "/tickets/1", []string{"comment", "x", "author", "a\x00b"}, 400, "is no text"},
			{"no such ticket", "/tickets/new", "/tickets/77", []string{"comment", "x"}, 404, "does not exist"},
			{"no number", "/tickets/new", "/tickets/x", []string{"comment", "x"}, 404, `There is no ticket "x"`},
			{"a huge number", "/tickets/new", "/tickets/99999999999", []string{"comment", "x"}, 404, "There is no ticket"},
			{"deletes, not signed in", "/tickets/1", "/tickets/1/delete", nil, 403, "Sign in to delete tickets"},
			{"batch, not signed in", "/tickets/1", "/tickets/batch", []string{"ticket", "1", "milestone", "x"}, 403, "Sign in to change several"},
			{"renames, not signed in", "/tickets/new", "/wiki/WikiStart", []string{"do", "rename", "to", "X"}, 403, "Sign in to rename"},
			{"deletes a page, not signed in", "/tickets/new", "/wiki/WikiStart", []string{"do", "delete"}, 403, "Sign in to delete"},
			{"operates, not signed in", "/tickets/new", "/status", []string{"do", "retry", "name", "mail"}, 403, "Sign in to operate"},
			{"page does nothing", "/tickets/new", "/wiki/WikiStart", []string{"do", "x"}, 400, "no form of this page"},
			{"page name", "/tickets/new", "/wiki/x%2F%2Fy", []string{"do", "save", "text", "x"}, 422, "cannot have that name"},
			{"long page name", "/tickets/new", "/wiki/" + long, []string{"do", "save", "text", "x"}, 422, "name is too long"},
			{"a new page without a text", "/wiki/X?action=edit", "/wiki/X", []string{"do", "save", "text", ""}, 422, "The text is empty"},
			{"long page", "/wiki/X?action=edit", "/wiki/X", []string{"do", "save", "text", strings.Repeat(long, 150)}, 422, "expected 64 KiB at most"},
			{"a long description", "/tickets/1", "/tickets/1", []string{"description", strings.Repeat(long, 40)}, 422, "expected 64 KiB at most"},
			{"a long comment", "/tickets/1", "/tickets/1", []string{"comment", strings.Repeat(long, 9)}, 422, "The comment is too long: expected 16 KiB"},
			{"a long comment on a page", "/wiki/X?action=edit", "/wiki/X", []string{"do", "save", "text", "x", "comment", strings.Repeat(long, 9)}, 422, "The comment is too long"},
			{"no such type", "/tickets/new", "/tickets/new", []string{"summary", "x", "type", "no such type"}, 422, `The field "type" cannot be "no such type"`},
			{"too many people", "/tickets/1", "/tickets/1", []string{"cc", strings.Repeat("a@b.c,", 21)}, 422, "too many people: expected 20"},
			{"what is forbidden, not signed in", "/wiki/BadContent?action=edit", "/wiki/BadContent", []string{"do", "save", "text", "{{{\n.\n}}}"}, 403, "Sign in to say what is forbidden"},
			{"prefixes, not signed in", "/wiki/InterMapTxt?action=edit", "/wiki/InterMapTxt", []string{"do", "save", "text", "x"}, 403, "Sign in to change where prefixes lead"},
			{"the text as it was", "/wiki/WikiStart?action=edit", "/wiki/WikiStart", []string{"do", "save", "text", strings.ReplaceAll(welcomeText, "\n", "\r\n")}, 422, "there is nothing to store"},
			{"wrong password", "/account", "/account", []string{"name", "ann", "password", "wrong", "do", "sign in"}, 403, "do not belong together"},
			{"short password", "/account", "/account", []string{"name", "ann", "password", "short", "do", "make"}, 422, "expected 8 to 72 bytes"},
			{"name of an account", "/account", "/account", []string{"name", "a,b", "password", "long enough", "do", "make"}, 422, "That name cannot be used"},
			{"a name that is taken", "/account", "/account", []string{"name", "anonymous", "password", "long enough", "do", "make"}, 409, "is taken"},
		} {
			t.Run(tc.name, func(t *testing.T) {
				a := c.send(tc.page, tc.to, tc.fields...)
				assert.Equal(t, tc.status, a.status)
				assert.Contains(t, a.problem(), tc.want)
			})
		}
		for _, tc := range []struct {
			path   string
			status int
		}{
			{"/nothing", 404},
			{"/tickets/77", 404},
			{"/tickets/99999999999", 404},
			{"/tickets/1?diff=x", 400},
			{"/tickets/1?diff=99.0.x", 404},
			{"/tickets/1?diff=0.0.x", 400},
			{"/tickets?before=x&q=%25_!", 200},
			{"/wiki/WikiStart?version=x", 200},
			{"/wiki/WikiStart?version=99", 404},
			{"/wiki/NoPage", 404},
			{"/wiki/a%00b", 400},
			{"/wiki/a%ffb", 400},
			{"/wiki/a%2Fb%2F", 422},
			{"/?before=x", 200},
			{"/?before=-5", 200},
			{"/status", 403},
		} {
			assert.Equal(t, tc.status, c.get(tc.path).status, "%s", tc.path)
		}
		a := c.get("/")
		assert.Equal(t, 2, strings.Count(a.body, `data-place="`), "nothing was stored but the first page and the first ticket")
		assert.NotContains(t, p.log.String(), "a request failed", "all of this is the visitor's")
	})
}

// A page of another site cannot send this site's forms, nor read or show its pages.
func TestOtherSites(t *testing.T) {
	p := newRig(t, testdatabase.New(t, "sqlite")).start()
	c := newClient(t, p)
	shown := c.get("/tickets/new")
	values := shown.hidden()
	values.Set("summary", "x")
	values.Set("description", "a long text")
	post := func(kind, body string, header ...string) answer {
		r, err := http.NewRequestWithContext(ticking(t), http.MethodPost, p.url+"/tickets/new", strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", kind)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		a, err := c.do(r)
		require.NoError(t, err)
		return a
	}
	const form = "application/x-www-form-urlencoded"
	assert.Equal(t, 403, post(form, values.Encode(), "Sec-Fetch-Site", "cross-site").status)
	assert.Equal(t, 403, post(form, values.Encode(), "Origin", "https://example.org").status)
	assert.Equal(t, 415, post("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"summary\"\r\n\r\nx\r\n--x--\r\n").status)
	assert.Equal(t, 415, post("text/plain", values.Encode()).status)
	assert.Equal(t, 400, post(form, "summary=%zz").status)
	stranger := newClient(t, p)
	a, err := stranger.post(ticking(t), "/tickets/new", values)
	require.NoError(t, err)
	assert.Equal(t, 403, a.status, "the token is of another visitor")
	assert.Contains(t, a.body, "a long text", "nobody is to write it again")
	assert.Equal(t, "/tickets/1", post(form, values.Encode(), "Sec-Fetch-Site", "same-origin").path)

	for _, path := range []string{"/", "/tickets/1", "/static/live.js", "/changes?after=x", "/nothing"} {
		h := c.get(path).header
		assert.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'; style-src 'self'; script-src 'self'", "%s", path)
		assert.Contains(t, h.Get("Content-Security-Policy"), "frame-ancestors 'none'", "%s", path)
		assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), "%s", path)
	}
	r, err := http.NewRequestWithContext(ticking(t), http.MethodHead, p.url+"/changes", nil)
	require.NoError(t, err)
	head, err := c.do(r)
	require.NoError(t, err)
	assert.Equal(t, 405, head.status, "who does not read takes no stream")

	// Who has to sign in comes back to the page of the form, not to where it goes.
	denied := func(referer string) string {
		values.Set("token", c.get("/tickets/1").hidden().Get("token"))
		r, err := http.NewRequestWithContext(ticking(t), http.MethodPost, p.url+"/tickets/1/delete", strings.NewReader(values.Encode()))
		require.NoError(t, err)
		r.Header.Set("Content-Type", form)
		r.Header.Set("Referer", referer)
		a, err := c.do(r)
		require.NoError(t, err)
		m := regexp.MustCompile(`<p><a href="([^"]+)">Sign in`).FindStringSubmatch(a.body)
		require.NotNil(t, m, "%s", a.body)
		above := regexp.MustCompile(`<a href="([^"]+)">Sign in`).FindStringSubmatch(a.body)
		assert.Equal(t, strings.ToLower(m[1]), strings.ToLower(above[1]))
		return m[1]
	}
	assert.Equal(t, "/account?next=%2Ftickets%2F1%3Fa%3Db", denied(p.url+"/tickets/1?a=b"))
	assert.Equal(t, "/account?next=%2F", denied("https://example.org/x"))
	assert.Equal(t, "/account?next=%2F", denied(""))

	cookie := newClient(t, p).get("/").header.Get("Set-Cookie")
	assert.Regexp(t, `^tracker=[A-Z2-7]{26}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax$`, cookie)
}

// A tracker answers only to names that cannot lead anybody else here.
func TestHosts(t *testing.T) {
	p := newRig(t, testdatabase.New(t, "sqlite"), "-host", "Tracker.Example.org, other").start()
	for host, want := range map[string]int{
		"tracker.example.org": 200, "other:8080": 200, "localhost": 200, "localhost:1": 200, "127.0.0.1": 200, "[::1]:80": 200, "192.0.2.1": 200,
		"evil.example.org": 421, "localhost.example.org:80": 421, "tracker.example.org.": 421,
	} {
		r, err := http.NewRequestWithContext(ticking(t), http.MethodGet, p.url+"/", nil)
		require.NoError(t, err)
		r.Host = host
		a, err := newClient(t, p).do(r)
		require.NoError(t, err)
		assert.Equal(t, want, a.status, "%s", host)
	}
}

// Searching finds a text by itself, on every database, whatever stands in it.
func TestSearch(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		t.Parallel()
		c := newClient(t, newRig(t, s).start())
		for _, summary := range []string{"Über 100% _sure_!", "Something else", "x' OR '1'='1"} {
			c.ticket("summary", summary)
		}
		for text, want := range map[string]int{
			"Über": 1, "100%": 1, "_sure_!": 1, "something ELSE": 1, "%": 1, "_": 1, "' OR '": 1, "nothing": 0, strings.Repeat("x", 60000): 0,
		} {
			a := c.get("/tickets?q=" + url.QueryEscape(text))
			assert.Equal(t, 200, a.status, "%.20s", text)
			assert.Equal(t, want, strings.Count(a.body, `<tr id="ticket`), "%.20s", text)
		}
	})
}

// What a request asks of the database has a limit.
func TestRequestsHaveALimit(t *testing.T) {
	s := newSite(&changes{}, nil, settings{}, "")
	var left time.Duration
	h := s.guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		deadline, ok := r.Context().Deadline()
		require.True(t, ok)
		left = time.Until(deadline)
	}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	assert.Positive(t, left)
	assert.LessOrEqual(t, left, requestLimit)
}
