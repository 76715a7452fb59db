package main

import (
	"cmp"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/tests/testdatabase"
)

// lookFaults is what on a page some people could not read or use: what is wider
// than the window, has no name for those who cannot see it, or stands out too
// little from its background (WCAG 2.2, AA).
const lookFaults = `(() => {
	const faults = [];
	const tell = (what, e) => faults.push(what + ': ' + e.outerHTML.slice(0, 120));
	if (document.documentElement.scrollWidth > innerWidth) {
		faults.push('the page is ' + document.documentElement.scrollWidth + ' wide, the window ' + innerWidth);
	}
	if (!document.documentElement.lang) faults.push('no language');
	if (document.querySelectorAll('h1').length !== 1) faults.push('not one h1');
	if (document.querySelectorAll('main, header, footer, nav').length !== 4) faults.push('landmarks are missing');
	const ids = new Set();
	for (const e of document.querySelectorAll('[id]')) {
		if (ids.has(e.id)) tell('id is used twice', e);
		ids.add(e.id);
	}
	for (const e of document.querySelectorAll('input:not([type=hidden]), select, textarea')) {
		if (!e.labels.length && !e.getAttribute('aria-label')) tell('no label', e);
	}
	for (const e of document.querySelectorAll('button, a')) {
		if (!e.textContent.trim() && !e.getAttribute('aria-label')) tell('no name', e);
	}
	for (const e of document.querySelectorAll('img:not([alt])')) tell('no alt', e);
	for (const e of document.querySelectorAll('th:not([scope], .text *)')) tell('no scope', e);

	const channels = (text) => text.match(/[\d.]+/g).map(Number);
	const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
		.reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = (e) => {
		for (; e; e = e.parentElement) {
			const c = channels(getComputedStyle(e).backgroundColor);
			if (c.length === 3 || c[3] === 1) return c;
		}
		return [255, 255, 255];
	};
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const e = texts.currentNode.parentElement;
		if (!texts.currentNode.data.trim() || !e.checkVisibility() || e.closest('.hidden, .skip, script')) continue;
		const [a, b] = [light(channels(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
		const ratio = (a + 0.05) / (b + 0.05);
		if (ratio < 4.5) tell('contrast ' + ratio.toFixed(2), e);
	}
	return faults;
})()`

// Every page can be read on a phone and on a desk, in the light and in the dark,
// and used without seeing it.
func TestLook(t *testing.T) {
	t.Parallel()
	r := newRig(t, testdatabase.New(t, "sqlite")).withRedis()
	p := r.start()
	story(t, p)
	b := newBrowser(t)
	shown := b.open(p.url + "/account")
	shown.fill("#name", "ann")
	shown.fill("#password", "the password of ann")
	shown.goThrough(`main button[value="sign in"]`)
	pages := []string{
		"/", "/tickets", "/tickets?status=closed&q=nothing", "/tickets/new", "/tickets/1", "/tickets/99", "/wiki", "/wiki/WikiStart", "/wiki/NoPage",
		"/wiki/WikiStart?action=edit", "/wiki/WikiStart?action=history", "/wiki/WikiStart?action=rename", "/wiki/InterMapTxt", "/wiki/BadContent",
		"/status", "/account", "/nothing", eval[string](shown, `document.querySelector('a[href*="diff="]').getAttribute('href')`),
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{320, 1100} {
			shown.screen(width, 700, scheme)
			for _, path := range pages {
				shown.visit(p.url + path)
				assert.Empty(t, eval[[]string](shown, lookFaults), "%s, %d wide, %s", path, width, scheme)
			}
		}
	}

	// By the keyboard alone: the first key leads to what skips the navigation.
	shown.visit(p.url + "/")
	shown.run("a key", chromedp.KeyEvent("\t"))
	assert.Equal(t, "Skip to the content", eval[string](shown, `document.activeElement.innerText`))
	shown.run("a key", chromedp.KeyEvent("\r"))
	shown.waits(`document.activeElement === document.querySelector('main')`)

	folder := cmp.Or(os.Getenv("TRACBUS_PICTURES"), t.TempDir())
	for _, scheme := range []string{"light", "dark"} {
		shown.screen(1000, 640, scheme)
		shown.visit(p.url + "/")
		shown.sees("#live", "live")
		path := filepath.Join(folder, "tracker-"+scheme+".png")
		shown.picture(path)
		f, err := os.Open(path)
		require.NoError(t, err)
		size, err := png.DecodeConfig(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		assert.Equal(t, []int{1000, 640}, []int{size.Width, size.Height})
	}
}

// story fills a tracker with what a picture can show.
func story(t *testing.T, p *process) {
	ann, joe := newClient(t, p), newClient(t, p)
	ann.signIn("ann")
	joe.ticket("summary", "Timeline stops after a reconnect", "type", "defect", "priority", "major", "author", "joe",
		"description", "Since yesterday, see WikiStart.\n\n1. open the timeline\n2. close the lid\n\n| a | b |\n|--|--|\n| 1 | `long "+fmt.Sprintf("%0200d", 1)+"` |")
	ann.send("/tickets/1", "/tickets/1", "status", "accepted", "owner", "ann", "milestone", "1.0", "comment", "I can see it here, too.")
	ann.send("/wiki/InterMapTxt?action=edit", "/wiki/InterMapTxt", "do", "save", "comment", "links to PEPs",
		"text", "----\nPEP  https://peps.python.org/pep-$1/  # Python Enhancement Proposal $1\n----\n")
	ann.send("/wiki/BadContent?action=edit", "/wiki/BadContent", "do", "save", "text", "{{{\ncheap .* watches\n}}}\n")
	joe.ticket("summary", "Write release notes", "type", "task", "priority", "minor", "author", "joe")
	ann.send("/wiki/Release%20notes?action=edit", "/wiki/Release%20notes", "do", "save", "text", "# 1.0\n\nSee PEP:8, #1 and NoSuchPage.", "comment", "a draft")
	ann.send("/tickets", "/tickets/batch", "ticket", "1", "ticket", "2", "milestone", "1.1", "comment", "Both have to wait.")
	ann.send("/tickets/1", "/tickets/1", "status", "closed", "resolution", "fixed", "comment", "The stream goes on behind the last change it told.")
}
