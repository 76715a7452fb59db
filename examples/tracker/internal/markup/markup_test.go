package markup

import (
	"context"
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/pages"
)

// known is a wiki with some pages and a prefix.
func known(t testing.TB) (*pages.Set, *pages.InterMap) {
	pages, links := pages.NewIndex(pages.Config{}), pages.NewInterMap(pages.InterMapConfig{})
	created := func(name, text string) tracbus.WikiPageCreated {
		return tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: name, Version: 1, Text: text}}
	}
	require.NoError(t, pages.WikiPageCreated(context.Background(), created("WikiStart", "")))
	require.NoError(t, pages.WikiPageCreated(context.Background(), created("Release notes", "")))
	require.NoError(t, links.WikiPageCreated(context.Background(), created("InterMapTxt",
		"----\nPEP https://peps.python.org/pep-$1/ # PEP $1\nBad javascript:alert($1)\n----\n")))
	return pages.Get(), links
}

func TestHTML(t *testing.T) {
	pages, links := known(t)
	const outside = ` rel="nofollow noopener noreferrer" class="outside">`
	missing := func(link, text string) string {
		return `<a href="/wiki/` + link + `" title="There is no such page yet" class="missing">` + text + `</a>`
	}
	for _, tc := range []struct{ text, want string }{
		{"a *b* `#1 c`", "a <em>b</em> <code>#1 c</code>"},
		{"see #17, ticket:18.", `see <a href="/tickets/17">#17</a>, <a href="/tickets/18">ticket:18</a>.`},
		{"a#17 ##17 # 17 &#65;", "a#17 ##17 # 17 A"},
		{"WikiStart and NoSuchPage/SubPage", `<a href="/wiki/WikiStart">WikiStart</a> and ` + missing("NoSuchPage/SubPage", "NoSuchPage/SubPage")},
		{"!WikiStart !#17 !PEP:8 !x", "WikiStart #17 PEP:8 !x"},
		{`wiki:"Release notes" wiki:"No notes" wiki:X`, `<a href="/wiki/Release%20notes">wiki:&quot;Release notes&quot;</a> ` +
			missing("No%20notes", `wiki:&quot;No notes&quot;`) + " " + missing("X", "wiki:X")},
		{`wiki:"a//b" wiki:../x`, `wiki:&quot;a//b&quot; wiki:../x`},
		{"pep:8, PEP:8.", `<a href="https://peps.python.org/pep-8/" title="PEP 8"` + outside + `pep:8</a>, <a href="https://peps.python.org/pep-8/" title="PEP 8"` + outside + `PEP:8</a>.`},
		{"Bad:1 Unknown:2 12:30", "Bad:1 Unknown:2 12:30"},
		{"https://example.org/a_b?x=#17", `<a href="https://example.org/a_b?x=#17"` + outside + `https://example.org/a_b?x=#17</a>`},
		{"[WikiStart](https://example.org)", `<a href="https://example.org"` + outside + `WikiStart</a>`},
		{"[x](/wiki/WikiStart)", `<a href="/wiki/WikiStart">x</a>`},
		{"[x](javascript:alert(1)) [y](data:text/html,x)", `<a href=""` + outside + `x</a> <a href=""` + outside + `y</a>`},
		{"<script>alert(1)</script> <b>x</b>", "&lt;script&gt;alert(1)&lt;/script&gt; &lt;b&gt;x&lt;/b&gt;"},
		{`<a href="javascript:alert(1)" onclick=x>y</a>`, "&lt;a href=&quot;javascript:alert(1)&quot; onclick=x&gt;y&lt;/a&gt;"},
		{"one #1\ntwo #2", "one <a href=\"/tickets/1\">#1</a>\ntwo <a href=\"/tickets/2\">#2</a>"},
		{"a_b_WikiStart_c PEP:x_y_z", "a_b_WikiStart_c <a href=\"https://peps.python.org/pep-x_y_z/\" title=\"PEP x_y_z\"" + outside + "PEP:x_y_z</a>"},
	} {
		html, err := HTML(tc.text, pages, links)
		require.NoError(t, err)
		assert.Equal(t, "<p>"+tc.want+"</p>\n", string(html), "%s", tc.text)
	}
	html, err := HTML("<div>\n<script>alert(1)</script>\n</div>\n\n# H <i>\n\n<!-- x -->\n\n| a | <b> |\n|--|--|\n| #1 | x |\n", pages, links)
	require.NoError(t, err)
	for _, tag := range []string{"<div", "<script", "<i>", "<b>", "<!--"} {
		assert.NotContains(t, string(html), tag)
	}
	assert.Contains(t, string(html), "<h2>H &lt;i&gt;</h2>")
	assert.Contains(t, string(html), `<td><a href="/tickets/1">#1</a></td>`)
}

// Two pages could make a tracker end: a prefix, and thousands of links with it. What the
// links become is summed up while they are made, and the rest of them is text.
func TestPrefixesBecomeNoMoreThanAPageMayHave(t *testing.T) {
	index, links := pages.NewIndex(pages.Config{}), pages.NewInterMap(pages.InterMapConfig{})
	require.NoError(t, links.WikiPageCreated(context.Background(), tracbus.WikiPageCreated{Page: tracbus.WikiPage{
		Name: "InterMapTxt", Version: 1, Text: "----\na http://" + strings.Repeat("h", 900) + "/$1$1$1 # " + strings.Repeat("t", 900) + "\n----\n"}}))
	l := &linker{index.Get(), links, mostLinked}
	bytes, none := 0, 0
	for range 16 << 10 {
		link := l.link(func(i int) string { return map[int]string{5: "a", 6: "b"}[i] })
		if link == nil {
			none++
			continue
		}
		bytes += len(link.Destination) + len(link.Title)
	}
	assert.LessOrEqual(t, bytes, mostLinked)
	assert.Greater(t, bytes, mostLinked-4<<10)
	assert.Positive(t, none)

	html, err := HTML(strings.Repeat("a:b ", 16<<10), index.Get(), links)
	require.NoError(t, err)
	assert.Less(t, len(html), mostHTML)
	assert.Equal(t, 16<<10-none, strings.Count(string(html), "<a "), "the first are links, the rest is text")
	assert.True(t, strings.HasSuffix(string(html), "a:b a:b</p>\n"))
}

// A text that is all prefixes costs no more than what they may become: when nothing is left,
// none of them is expanded.
func TestNothingIsExpandedInVain(t *testing.T) {
	_, links := known(t)
	l := &linker{pages.NewIndex(pages.Config{}).Get(), links, 1}
	assert.Nil(t, l.link(func(i int) string { return map[int]string{5: "PEP", 6: "8"}[i] }), "longer than what is left")
	assert.Negative(t, l.left)
	l.links = nil // which would panic
	assert.Nil(t, l.link(func(i int) string { return map[int]string{5: "PEP", 6: "8"}[i] }))
}

// A part of an expression that goes over where other links may begin has a bound, or is the end
// of a link: no text makes the search look at its rest again and again.
func TestTheSearchForLinksIsBounded(t *testing.T) {
	expression, err := syntax.Parse(trackerLink.String(), syntax.Perl)
	require.NoError(t, err)
	ends, others := 0, 0
	var walk func(e *syntax.Regexp)
	walk = func(e *syntax.Regexp) {
		for _, sub := range e.Sub {
			walk(sub)
		}
		if e.Op != syntax.OpStar && e.Op != syntax.OpPlus && (e.Op != syntax.OpRepeat || e.Max >= 0) {
			return
		}
		if over := regexp.MustCompile(`^(?:` + e.Sub[0].String() + `)$`); !over.MatchString("-") && !over.MatchString(".") && !over.MatchString(" ") {
			others++ // one word has one beginning
			return
		}
		ends++
		assert.Contains(t, []string{`[^\t\n\f\r "]`, `[^\t\n\f\r "<>]`}, e.Sub[0].String(), "%s has no bound", e)
	}
	walk(expression)
	assert.Equal(t, 2, ends)
	assert.Equal(t, 5, others)

	pages, links := known(t)
	for text, want := range map[string]string{
		strings.Repeat("a", 100) + ":b": "", strings.Repeat("a", 101) + ":b": "", `wiki:"` + strings.Repeat("a", 150) + `"`: "<a ",
		`wiki:"` + strings.Repeat("a", 151) + `"`: "", "wiki:" + strings.Repeat("a", 150): "<a ", "PEP:" + strings.Repeat("8", 2000): "<a ",
		strings.Repeat("a-AaBb-", 100): "<a ",
	} {
		html, err := HTML(text, pages, links)
		require.NoError(t, err)
		assert.Equal(t, want != "", strings.Contains(string(html), "<a "), "%.40s", text)
	}
}

// What would take the parser long, or much memory, is shown as text.
func TestTooDeep(t *testing.T) {
	pages, links := known(t)
	for _, deep := range []string{
		strings.Repeat(">", 31), "x\n" + strings.Repeat("> ", 31) + "x", strings.Repeat("- ", 31), strings.Repeat(" 1. ", 31),
		strings.Repeat("[a](", 4001), strings.Repeat("*a ", 4001),
		strings.Repeat("|", 11_000) + "\n" + strings.Repeat("-|", 11_000) + "\n" + strings.Repeat("x\n", 16_000),
		"[x]: /" + strings.Repeat("y", 32<<10) + "\n\n" + strings.Repeat("[x] ", 3900),
	} {
		html, err := HTML(deep+"<b>", pages, links)
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(string(html), "<pre>"), "%.40s", html)
		assert.True(t, strings.HasSuffix(string(html), "&lt;b&gt;</pre>"), "%.40s", html)
	}
	for _, fine := range []string{strings.Repeat("-", 200), strings.Repeat("*", 60), strings.Repeat("=", 99), strings.Repeat("- a\n", 900), strings.Repeat("> ", 29) + "x",
		"| a | b |\n|--|--|\n" + strings.Repeat("| 1 | 2 |\n", 5000), strings.Repeat("if a || b {}\n", 2000)} {
		html, err := HTML(fine, pages, links)
		require.NoError(t, err)
		assert.False(t, strings.HasPrefix(string(html), "<pre>"), "%.40s", fine)
	}
}

// No text makes a tag or an attribute that is not in the list, whatever it is.
func FuzzHTML(f *testing.F) {
	for _, seed := range []string{
		"a #1 *b* `c` <d>", "[x](javascript:1 \"t\")", `wiki:"a b" PEP:8'">`, "![x](y)", "<script>", "<https://x.org/?<script>", "| a |\n|-|\n| <b> |",
		"[x]: /y '\"><script>'\n\n[x]", "# a {onclick=x}", "&lt;script&gt;", "x\n{.y onclick=z}", "~~x~~", "www.x.org/<img src=x>",
	} {
		f.Add(seed)
	}
	pages, links := known(f)
	f.Fuzz(func(t *testing.T, text string) {
		html, err := HTML(text, pages, links)
		require.NoError(t, err)
		rest := string(html)
		for {
			_, after, found := strings.Cut(rest, "<")
			if !found {
				return
			}
			tag, behind, closed := strings.Cut(after, ">")
			require.True(t, closed, "%q", after)
			rest = behind
			name, attributes, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(tag, "/"), " /"), " ")
			require.Contains(t, " a p em strong code pre h1 h2 h3 h4 h5 h6 ul ol li blockquote hr br table thead tbody tr th td del img ", " "+name+" ", "%q", tag)
			for attributes = strings.TrimSpace(attributes); attributes != ""; attributes = strings.TrimSpace(attributes) {
				attribute, value, ok := strings.Cut(attributes, `="`)
				value, attributes, _ = strings.Cut(value, `"`)
				require.True(t, ok, "%q", tag)
				require.Contains(t, " href title rel class src alt start id align ", " "+attribute+" ", "%q", tag)
				if attribute == "href" || attribute == "src" {
					require.NotRegexp(t, `(?i)^\s*(javascript|vbscript|data):`, value)
				}
			}
		}
	})
}
