package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/tests/testdatabase"
)

// Who is signed in, is so in all processes, and by a cookie that nobody had before.
func TestAccounts(t *testing.T) {
	t.Parallel()
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
	other := newClient(t, q)
	a := other.send("/account", "/account", "name", "ann", "password", "another password", "do", "make")
	assert.Equal(t, 409, a.status)
	assert.NotContains(t, a.body, "another password")
	a = other.send("/tickets/new", "/tickets/new", "summary", "x", "author", "ann")
	assert.Contains(t, a.problem(), `"ann" is somebody's account`)
	assert.Contains(t, a.body, `value="x"`, "what was written is still there")

	assert.Contains(t, c.get("/status").body, "Durable consumers", "the first account is the operator's")
	other.signIn("bob")
	assert.Equal(t, "Only an operator may see how the tracker works.", other.get("/status").problem())
	assert.Contains(t, other.send("/wiki/BadContent?action=edit", "/wiki/BadContent", "do", "save", "text", "{{{\n.\n}}}").problem(), "Only an operator may say what is forbidden")
	assert.Contains(t, other.send("/wiki/WikiStart?action=rename", "/wiki/WikiStart", "do", "rename", "to", "BadContent").problem(), "Only an operator")
	assert.Equal(t, 403, other.send("/", "/status", "do", "drop-consumer", "name", "mail").status)

	// Whatever is forbidden, who says so can take it back.
	edit := func(text string) answer {
		return c.send("/wiki/BadContent?action=edit", "/wiki/BadContent", "do", "save", "text", text)
	}
	require.Empty(t, edit("{{{\n.\n}}}").problem())
	assert.Contains(t, other.send("/tickets/new", "/tickets/new", "summary", "anything").problem(), `the page BadContent forbids "."`)
	assert.Contains(t, edit(strings.Repeat("x", 5000)).problem(), "expected 4096 bytes")
	assert.Contains(t, edit("{{{\ncasino\n(?<=free )money\n}}}").problem(), `That cannot be searched for: line 3: pattern "(?<=free )money": look-around`)
	assert.Contains(t, other.send("/tickets/new", "/tickets/new", "summary", "anything").problem(), `the page BadContent forbids "."`, "nothing was stored")
	require.Empty(t, edit("nothing is forbidden").problem())
	other.ticket("summary", "anything")

	named := newClient(t, r.start("-operators", "carl, bob"))
	named.signIn("carl")
	assert.Contains(t, named.get("/status").body, "Durable consumers")

	_, db := r.openJournal()
	var stored string
	require.NoError(t, db.QueryRowContext(ticking(t), "SELECT password FROM tracker_account WHERE name = 'ann'").Scan(&stored))
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
