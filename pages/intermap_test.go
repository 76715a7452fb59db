package pages_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/pages"
)

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

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

// TestCostOfInterMapEntriesIsBounded: 30,000 places and a target of 60,000 characters
// were 1.8 GB for each link. Such an entry is left out and said; the others are used.
func TestCostOfInterMapEntriesIsBounded(t *testing.T) {
	testkit.MeasuresMemory(t)
	long := strings.Repeat("x", 1001)
	text := "----\n" +
		"places http://h/" + strings.Repeat("$1", 21) + "\n" +
		"ok http://h/" + strings.Repeat("$1", 20) + " # " + strings.Repeat("$1", 20) + "\n" +
		"address http://h/" + long + "\n" +
		"title http://h/ # " + long + "\n" +
		"titles http://h/ # " + strings.Repeat("$1", 30_000) + "\n" +
		strings.Repeat("p", 101) + " http://h/\n----\n"
	err := pages.CheckInterMap(text)
	var broken pages.EntryErrors
	require.ErrorAs(t, err, &broken)
	var lines []int
	for _, e := range broken {
		lines = append(lines, e.Line)
		assert.Error(t, e.Err)
	}
	assert.Equal(t, []int{2, 4, 5, 6, 7}, lines)
	assert.ErrorContains(t, err, `line 2: prefix "places": the URL has 21 times $: expected 20 at most; `)

	m := interMapOf(t, text)
	assert.ErrorContains(t, m.Err(), err.Error())
	url, title, ok := m.Expand("ok", "ab")
	assert.True(t, ok)
	assert.Equal(t, "http://h/"+strings.Repeat("ab", 20), url)
	assert.Equal(t, strings.Repeat("ab", 20), title)
	for _, e := range broken {
		_, _, ok := m.Expand(e.Prefix, "ab")
		assert.False(t, ok, e.Prefix)
	}
}

// TestCostOfExpandIsKnownBefore it is paid: a link that would be too long allocates
// nothing of it.
func TestCostOfExpandIsKnownBefore(t *testing.T) {
	testkit.MeasuresMemory(t)
	m := interMapOf(t, "----\nurl http://h/"+strings.Repeat("$1", 20)+"\ntitle http://h/$1 # "+strings.Repeat("$1", 20)+"\nappend http://h/ # x\n")
	for _, prefix := range []string{"url", "title"} {
		_, _, ok := m.Expand(prefix, strings.Repeat("x", 200))
		assert.True(t, ok, prefix)
		for _, length := range []int{210, 4096, 4097, 60_000} {
			target := strings.Repeat("x", length)
			_, _, ok = m.Expand(prefix, target)
			assert.False(t, ok, "%s with %d bytes", prefix, length)
			assert.Less(t, allocated(func() { m.Expand(prefix, target) }), uint64(6<<10), "%s with %d bytes", prefix, length)
		}
	}
	for _, rest := range []string{"", "?", "#"} { // which the URL has, and the title has not
		most := 4096 - len("http://h/") - len(rest)
		url, _, ok := m.Expand("append", strings.Repeat("x", most)+rest)
		assert.True(t, ok, rest)
		assert.Len(t, url, 4096, rest)
		_, _, ok = m.Expand("append", strings.Repeat("x", most+1)+rest)
		assert.False(t, ok, rest)
	}
	_, _, ok := m.Expand(strings.Repeat("p", 1<<20), "x")
	assert.False(t, ok)
}

// TestInterMapHasAThousandEntries at most, and says where the rest begins.
func TestInterMapHasAThousandEntries(t *testing.T) {
	var text strings.Builder
	text.WriteString("----\n")
	for i := range 5000 {
		fmt.Fprintf(&text, "p%d http://h/\n", i)
	}
	m := interMapOf(t, text.String())
	assert.Len(t, m.Get(), 1000)
	assert.EqualError(t, m.Err(), `page "InterMapTxt", version 1: line 1002: prefix "p1000": expected 1000 entries at most: it and those after it are left out`)
	assert.NoError(t, pages.CheckInterMap(strings.Join(strings.Split(text.String(), "\n")[:1001], "\n")))
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
