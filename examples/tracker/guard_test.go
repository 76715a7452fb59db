package main

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testdatabase"
)

// What no page of this site sends is refused, says why, and stores nothing.
func TestRefusals(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
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
			{"a long field", "/tickets/new", "/tickets/new", []string{"summary", long}, 422, `The field "summary" is too long: expected 1000 bytes`},
			{"zero byte", "/tickets/new", "/tickets/new", []string{"summary", "a\x00b"}, 400, `The field "summary" is no text`},
			{"no UTF-8", "/tickets/new", "/tickets/new", []string{"summary", "a\xffb"}, 400, `The field "summary" is no text`},
			{"no summary", "/tickets/new", "/tickets/new", []string{"summary", " "}, 422, "The summary is empty"},
			{"summary taken away", "/tickets/1", "/tickets/1", []string{"summary", "", "was-summary", "the first"}, 422, "The summary is empty"},
			{"a long name", "/tickets/1", "/tickets/1", []string{"comment", "x", "author", long}, 422, "That is no name"},
			{"two lines in a name", "/tickets/1", "/tickets/1", []string{"comment", "x", "author", "a\nb"}, 422, "That is no name"},
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
			{"long page", "/wiki/X?action=edit", "/wiki/X", []string{"do", "save", "text", strings.Repeat(long, 150)}, 422, "expected 256 KiB at most"},
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
	assert.Equal(t, "/tickets/1", post(form, values.Encode(), "Sec-Fetch-Site", "same-origin").path)

	for _, path := range []string{"/", "/tickets/1", "/static/live.js", "/changes?after=x", "/nothing"} {
		h := c.get(path).header
		assert.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'; style-src 'self'; script-src 'self'", "%s", path)
		assert.Contains(t, h.Get("Content-Security-Policy"), "frame-ancestors 'none'", "%s", path)
		assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), "%s", path)
	}
	cookie := newClient(t, p).get("/").header.Get("Set-Cookie")
	assert.Regexp(t, `^tracker=[A-Z2-7]{26}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax$`, cookie)
}

// Who is signed in, is so in all processes, and by a cookie that nobody had before.
func TestAccounts(t *testing.T) {
	r := newRig(t, testdatabase.New(t, "sqlite"))
	p, q := r.start(), r.start()
	c := newClient(t, p)
	site, err := url.Parse(p.url)
	require.NoError(t, err)
	cookie := func() string { return c.http.Jar.Cookies(site)[0].Value }
	c.get("/")
	before := cookie()
	c.signIn("ann")
	signed := cookie()
	assert.NotEqual(t, before, signed)
	c.base = q.url // the other process
	assert.Contains(t, c.get("/").body, "Sign out")
	c.send("/", "/account", "do", "sign out")
	assert.NotEqual(t, signed, cookie())
	assert.NotContains(t, c.get("/").body, "Sign out")
	c.http.Jar.SetCookies(site, []*http.Cookie{{Name: cookieName, Value: signed, Path: "/"}})
	assert.NotContains(t, c.get("/").body, "Sign out", "signed out is signed out")

	for next, want := range map[string]string{
		"/tickets?q=a%20b": "/tickets?q=a%20b", "https://example.org/": "/", "//example.org/": "/", `/\example.org`: "/", "/\t/example.org": "/",
	} {
		a := c.send("/account", "/account", "name", "ann", "password", "the password of ann", "do", "sign in", "next", next)
		assert.Equal(t, want, a.path, "%q: %s", next, a.problem())
	}
	other := newClient(t, p)
	a := other.send("/account", "/account", "name", "ann", "password", "another password", "do", "make")
	assert.Equal(t, 409, a.status)
	assert.NotContains(t, a.body, "another password")
	a = other.send("/tickets/new", "/tickets/new", "summary", "x", "author", "ann")
	assert.Contains(t, a.problem(), `"ann" is somebody's account`)
	assert.Contains(t, a.body, `value="x"`, "what was written is still there")

	_, db := r.openJournal()
	var stored string
	require.NoError(t, db.QueryRowContext(ticking(t), "SELECT password FROM tracker_account").Scan(&stored))
	assert.Regexp(t, `^\$2a\$10\$`, stored)
	rows, err := db.QueryContext(ticking(t), "SELECT visitor FROM tracker_session")
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var visitor string
		require.NoError(t, rows.Scan(&visitor))
		assert.Regexp(t, `^[0-9a-f]{64}$`, visitor, "the cookie itself is stored nowhere")
	}
	require.NoError(t, rows.Err())
}

// Two visitors who change the same: the second is told, loses nothing of what was
// written, and takes back nothing of what the first did.
func TestConflicts(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		r := newRig(t, s)
		p, q := r.start(), r.start()
		ann, bob := newClient(t, p), newClient(t, q)
		ann.ticket("summary", "one", "milestone", "m1", "priority", "minor")
		shown := bob.get("/tickets/1").hidden()
		ann.send("/tickets/1", "/tickets/1", "milestone", "m2", "author", "ann")
		shown.Set("milestone", "m1")
		shown.Set("priority", "blocker")
		shown.Set("comment", "a long comment")
		a, err := bob.post(ticking(t), "/tickets/1", shown)
		require.NoError(t, err)
		assert.Equal(t, 409, a.status)
		assert.Contains(t, a.problem(), "Somebody else changed this ticket while you were writing")
		assert.Contains(t, a.body, "a long comment")
		assert.Contains(t, a.body, "<option selected>blocker</option>")
		assert.Contains(t, a.body, `name="milestone" value="m2"`)
		again := a.hidden()
		again.Set("milestone", "m2")
		again.Set("priority", "blocker")
		again.Set("comment", "a long comment")
		a, err = bob.post(ticking(t), "/tickets/1", again)
		require.NoError(t, err)
		require.Equal(t, 200, a.status, "%s", a.problem())
		assert.Regexp(t, regexp.MustCompile(`(?s)<b>priority</b> <del>minor</del> → <ins>blocker</ins>.*<b>milestone</b> <del>m1</del> → <ins>m2</ins>`), a.body)
		assert.Equal(t, 1, strings.Count(a.body, "<b>milestone</b>"))

		edit := bob.get("/wiki/WikiStart?action=edit").hidden()
		ann.send("/wiki/WikiStart?action=edit", "/wiki/WikiStart", "text", "hers", "do", "save", "author", "ann")
		edit.Set("text", "his long text")
		edit.Set("do", "save")
		a, err = bob.post(ticking(t), "/wiki/WikiStart", edit)
		require.NoError(t, err)
		assert.Equal(t, 409, a.status)
		assert.Contains(t, a.problem(), "ann changed this page while you were writing: there is a version 2 now")
		assert.Contains(t, a.body, "his long text")
		again = a.hidden()
		again.Set("text", "both texts")
		again.Set("do", "save")
		a, err = bob.post(ticking(t), "/wiki/WikiStart", again)
		require.NoError(t, err)
		assert.Contains(t, a.body, "both texts")

		// A form for a new page, where somebody else made it meanwhile.
		edit = bob.get("/wiki/New?action=edit").hidden()
		ann.send("/wiki/New?action=edit", "/wiki/New", "text", "hers", "do", "save")
		edit.Set("text", "his")
		edit.Set("do", "save")
		a, err = bob.post(ticking(t), "/wiki/New", edit)
		require.NoError(t, err)
		assert.Equal(t, 409, a.status)
		assert.NotContains(t, p.log.String()+q.log.String(), "a request failed")
	})
}

// What the form shows and the visitor does not touch is not changed by it, not even
// into what Trac would make of it.
func TestUntouchedFields(t *testing.T) {
	r := newRig(t, testdatabase.New(t, "sqlite"))
	c := newClient(t, r.start())
	c.ticket("summary", "one")
	_, db := r.openJournal()
	_, err := db.ExecContext(ticking(t), "UPDATE ticket SET cc = 'b;a', type = 'unknown to this tracker', description = 'a' || char(10) || 'b' WHERE id = 1")
	require.NoError(t, err)
	shown := c.get("/tickets/1")
	assert.Contains(t, shown.body, "<option selected>unknown to this tracker</option>")
	values := shown.hidden()
	for _, f := range ticketFields() { // as a browser does
		values.Set(f.Name, strings.ReplaceAll(values.Get("was-"+f.Name), "\n", "\r\n"))
		values.Set("was-"+f.Name, values.Get(f.Name))
	}
	values.Set("comment", "only this")
	a, err := c.post(ticking(t), "/tickets/1", values)
	require.NoError(t, err)
	require.Equal(t, 200, a.status, "%s", a.problem())
	_, after, _ := strings.Cut(a.body, `<ol class="history">`)
	after, _, _ = strings.Cut(after, "</li>")
	assert.Contains(t, after, "only this")
	assert.NotContains(t, after, `class="fields"`)
	assert.NotContains(t, after, "differences")
	var cc, description string
	require.NoError(t, db.QueryRowContext(ticking(t), "SELECT cc, description FROM ticket WHERE id = 1").Scan(&cc, &description))
	assert.Equal(t, "b;a", cc)
	assert.Equal(t, "a\nb", description)
}

// Settings that cannot work are refused at the start, without a secret.
func TestSettings(t *testing.T) {
	r := newRig(t, testdatabase.New(t, "sqlite"))
	p := r.start()
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"x"}, `arguments ["x"]: expected flags only`},
		{[]string{"-dialect", "oracle"}, `dialect "oracle": expected sqlite, postgresql or mysql`},
		{[]string{"-db", "/no/such/folder/tracker.db"}, "make tables"},
		{[]string{"-listen", p.address()}, "-listen: "},
		{[]string{"-redis", "http://user:secret@host"}, "-redis: "},
		{[]string{"-smtp", "host"}, `-smtp "host": expected host:port`},
		{[]string{"-smtp", "host:x"}, `-smtp "host:x": expected host:port`},
		{[]string{"-mail-from", "nobody"}, `-mail-from "nobody": expected an address`},
	} {
		t.Run(fmt.Sprint(tc.args), func(t *testing.T) {
			_, err := r.try(tc.args...)
			require.ErrorContains(t, err, tc.want)
			assert.NotContains(t, err.Error(), "secret")
		})
	}
}

// Without any setting, everything is kept in one file, in the folder where the
// program was started, and is there the next time.
func TestNoSettings(t *testing.T) {
	r := newRig(t, testdatabase.New(t, "sqlite"))
	r.dsn = ""
	p := r.start()
	newClient(t, p).ticket("summary", "the first")
	require.NoError(t, p.stop())
	files, err := filepath.Glob(filepath.Join(r.folder, "*"))
	require.NoError(t, err)
	assert.Equal(t, []string{filepath.Join(r.folder, "tracker.db")}, files)
	page := newClient(t, r.start()).get("/")
	assert.Contains(t, page.body, "the first")
	assert.Contains(t, page.body, "WikiStart")
}
