package pages_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/pages"
)

// interMapOf returns what a page says.
func interMapOf(t testing.TB, text string, schemes ...string) *pages.InterMap {
	m := pages.NewInterMap(pages.InterMapConfig{SafeSchemes: schemes})
	page := tracbus.WikiPage{Name: "InterMapTxt", Version: 1, Text: text}
	require.NoError(t, m.WikiPageCreated(t.Context(), tracbus.WikiPageCreated{Page: page}))
	return m
}

// tracInterMap is the page of Trac's own tests (trac/wiki/tests/wikisyntax.py),
// and some more.
const tracInterMap = `
This is the InterMapTxt
before          http://noweb/
----
{{{
MeatBall        http://www.usemod.com/cgi-bin/mb.pl? # $1 in MeatBall...
tsvn            tsvn:
complex         http://server/$1/page/$2?format=txt  # resource $2 in $1
over            http://unused/? # Overridden in trac.ini
js              javascript:
javasc          javasc
Titled          http://server/#top #  a title  of its own
twice           http://server/first
TWICE	 	http://server/$2/$1#here ignored
none            http://server/$0/$$1
# off           http://server/
 indented       http://server/
9               http://server/
alone
return          http://server/r` + "\r" + `
bare            path/
}}}
----
{{{
nolink          http://noweb
}}}
-----
again           http://again/
`

// TestInterMapExpandsAsTrac has what Trac 1.6's InterWikiMap.url returned.
func TestInterMapExpandsAsTrac(t *testing.T) {
	m := interMapOf(t, tracInterMap)
	for _, c := range []struct{ prefix, target, url, title string }{
		{"MeatBall", "InterMapTxt", "http://www.usemod.com/cgi-bin/mb.pl?InterMapTxt", "InterMapTxt in MeatBall..."},
		{"meatball", "InterMapTxt#there", "http://www.usemod.com/cgi-bin/mb.pl?InterMapTxt#there", "InterMapTxt in MeatBall..."},
		{"MEATBALL", "InterMapTxt?format=txt#there", "http://www.usemod.com/cgi-bin/mb.pl?InterMapTxt&format=txt#there", "InterMapTxt in MeatBall..."},
		{"complex", "a:test", "http://server/a/page/test?format=txt", "resource test in a"},
		{"complex", "a", "http://server/a/page/?format=txt", "resource  in a"},
		{"complex", "a:test:more", "http://server/a/page/test:more?format=txt", "resource test:more in a"},
		{"complex", "a:test?go#there", "http://server/a/page/test?format=txt&go#there", "resource test in a"},
		{"complex", "", "http://server//page/?format=txt", "resource  in "},
		{"Titled", "x", "http://server/#topx", "x in a title  of its own"},
		{"Titled", "x#end?no", "http://server/#end?no", "x in a title  of its own"},
		{"Titled", "x?q", "http://server/?q#topx", "x in a title  of its own"},
		{"twice", "a:b:c", "http://server/b:c/a#here", "a:b:c in TWICE"},
		{"none", "a:b", "http://server//$a:b", "a:b in none"},
		{"return", "x", "http://server/rx", "x in return"},
		{"bare", "page", "path/page", "page in bare"},
		{"again", "x", "http://again/x", "x in again"},
	} {
		url, title, ok := m.Expand(c.prefix, c.target)
		assert.True(t, ok, "%s:%s", c.prefix, c.target)
		assert.Equal(t, c.url, url, "%s:%s", c.prefix, c.target)
		assert.Equal(t, c.title, title, "%s:%s", c.prefix, c.target)
	}
	for _, no := range []string{"before", "nolink", "off", "#", "indented", "9", "alone", "unknown", ""} {
		_, _, ok := m.Expand(no, "x")
		assert.False(t, ok, no)
	}
}

// TestInterMapTrustsSafeSchemesOnly: whoever may edit the page could else put a
// script into everybody's links.
func TestInterMapTrustsSafeSchemesOnly(t *testing.T) {
	m := interMapOf(t, tracInterMap)
	for prefix, target := range map[string]string{
		"js": "alert(1)", "javasc": "ript:alert(1)", "tsvn": "http://svn.edgewall.com/repos/trac",
	} {
		_, _, ok := m.Expand(prefix, target)
		assert.False(t, ok, prefix)
	}
	m = interMapOf(t, tracInterMap, "tsvn", "http")
	url, title, ok := m.Expand("tsvn", "http://svn.edgewall.com/repos/trac")
	assert.True(t, ok)
	assert.Equal(t, "tsvn:http://svn.edgewall.com/repos/trac", url)
	assert.Equal(t, "http://svn.edgewall.com/repos/trac in tsvn", title)
}

// TestInterMapLists its entries for a page that shows them, as Trac's macro
// [[InterWiki]] does.
func TestInterMapLists(t *testing.T) {
	m := interMapOf(t, "----\nb http://b/ # B\nC http://c/\na http://a/ #\n")
	assert.Equal(t, []pages.InterMapEntry{
		{Prefix: "a", URL: "http://a/", Title: "a"},
		{Prefix: "b", URL: "http://b/", Title: "B"},
		{Prefix: "C", URL: "http://c/", Title: "C"},
	}, slices.Collect(m.All()))
	for range m.All() {
		break // as a loop may
	}
	assert.Empty(t, slices.Collect(interMapOf(t, "").All()))
}

// TestInterMapIsToldOfEveryChange, for it has a Value's methods.
func TestInterMapIsToldOfEveryChange(t *testing.T) {
	var m any = pages.NewInterMap(pages.InterMapConfig{})
	assert.Implements(t, (*tracbus.WikiListener)(nil), m)
	assert.Implements(t, (*tracbus.WikiPageRenamedListener)(nil), m)
	assert.Implements(t, (*tracbus.WikiPageVersionDeletedListener)(nil), m)
	assert.Implements(t, (*tracbus.LoadListener)(nil), m)
	assert.Implements(t, (*tracbus.ResyncListener)(nil), m)
}

// TestInterMapIsReadWhole while its page changes: all entries of one version, or
// all of another.
func TestInterMapIsReadWhole(t *testing.T) {
	text := func(n int) string {
		var s strings.Builder
		s.WriteString("----\n")
		for i := range 20 {
			fmt.Fprintf(&s, "P%d http://server/%d/\n", i, n)
		}
		return s.String()
	}
	m := interMapOf(t, text(0))
	whileReading(t, func() {
		for n := range 300 {
			assert.NoError(t, m.WikiPageChanged(context.Background(), version(int64(n), "InterMapTxt", text(n))))
		}
	}, func() {
		urls := make(map[string]bool)
		for entry := range m.All() {
			urls[entry.URL] = true
		}
		assert.Len(t, urls, 1)
		_, _, ok := m.Expand("p7", "page")
		assert.True(t, ok)
	})
}

// FuzzInterMap: no page and no link makes it panic, and a link goes to a safe
// scheme or to none.
func FuzzInterMap(f *testing.F) {
	f.Add(tracInterMap, "complex", "a:b?c#d")
	f.Add("----\nx $9$0$$1 # $", "X", ":::")
	f.Add("----\nx javascript#?:", "x", "\xff#?#")
	f.Fuzz(func(t *testing.T, page, prefix, target string) {
		m := interMapOf(t, page)
		url, _, ok := m.Expand(prefix, target)
		if scheme, _, absolute := strings.Cut(url, ":"); ok && absolute && !slices.Contains([]string{
			"cvs", "file", "ftp", "git", "irc", "http", "https", "news", "sftp", "smb", "ssh", "svn", "svn+ssh"}, scheme) {
			t.Errorf("%q of %q, with %s:%s", url, page, prefix, target)
		}
		for entry := range m.All() {
			m.Expand(strings.ToLower(entry.Prefix), target)
		}
	})
}

// BenchmarkInterMapExpand expands a link with two places.
func BenchmarkInterMapExpand(b *testing.B) {
	m := interMapOf(b, tracInterMap)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := m.Expand("complex", "a:test?go#there"); !ok {
			b.Fatal("no such prefix")
		}
	}
}
