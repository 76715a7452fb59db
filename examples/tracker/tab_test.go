package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testserver"
)

// browser is a headless Chromium with a profile of its own.
type browser struct {
	t   testing.TB
	ctx context.Context

	mu     sync.Mutex
	faults []string // what pages complained of, and what ran that must not
}

func newBrowser(t testing.TB) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(testserver.Chromium(t)),
		chromedp.NoSandbox, // which root cannot have; the pages are our own
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.WSURLReadTimeout(patience),
	)
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	b := &browser{t: t}
	var cancel context.CancelFunc
	b.ctx, cancel = chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(b.ctx) // ends Chromium in order
		cancel()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, fault := range b.faults {
			t.Errorf("in the browser: %s", fault)
		}
	})
	require.NoError(t, chromedp.Do(b.ctx)) // starts it
	return b
}

// step runs a part of a test, without which there is no next one. Tabs that it
// opens are closed with it.
func (b *browser) step(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	passed := t.Run(name, func(t *testing.T) {
		was := b.t
		b.t = t
		defer func() { b.t = was }()
		f(t)
	})
	if !passed {
		t.FailNow()
	}
}

func (b *browser) fault(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

// tab is one page in the browser.
type tab struct {
	*browser
	ctx context.Context
}

// open opens a page in a new tab. Scripts that fail or ask, and whatever the
// page's policy refuses, fail the test.
func (b *browser) open(url string) *tab {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	t := &tab{browser: b, ctx: ctx}
	err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *page.EventJavascriptDialogOpening:
			b.fault("a script ran: it says %q on %s", e.Message, e.URL)
			go func() {
				_, _ = chromedp.Call(ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
			}()
		case *runtime.EventExceptionThrown:
			b.fault("a script failed: %s %s", e.ExceptionDetails.Text, e.ExceptionDetails.URL)
		case *log.EventEntryAdded:
			if strings.Contains(e.Entry.Text, "Content Security Policy") || e.Entry.Source == log.EntrySourceSecurity {
				b.fault("%s: %s", e.Entry.URL, e.Entry.Text)
			}
		}
	})
	require.NoError(b.t, err)
	_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	require.NoError(b.t, err)
	_, err = chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	require.NoError(b.t, err) // or only one tab would be visible
	t.visit(url)
	return t
}

func (t *tab) run(what string, steps ...chromedp.Action[chromedp.Void]) {
	t.t.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	t.check(what, chromedp.Do(ctx, steps...))
}

// check ends the test at an error, and says what the page shows.
func (t *tab) check(what string, err error) {
	t.t.Helper()
	if err == nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.ctx, 5*time.Second)
	defer cancel()
	shown, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
	t.t.Fatalf("%s: %v\non %.3000s", what, err, shown)
}

func (t *tab) visit(url string) {
	t.t.Helper()
	t.run("visit "+url, chromedp.Navigate(url))
}

// fill types into a field, in the place of what is there.
func (t *tab) fill(selector, text string) {
	t.t.Helper()
	field := chromedp.CSS(selector)
	t.run("fill "+selector, chromedp.WaitVisible(field),
		chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelector(%q).value = ""`, selector)), chromedp.SendKeys(field, text))
}

// choose chooses an option.
func (t *tab) choose(selector, option string) {
	t.t.Helper()
	field := chromedp.CSS(selector)
	t.run("choose "+option+" of "+selector, chromedp.WaitVisible(field), chromedp.SetValue(field, option))
}

// press clicks on a button or link by what it says, and waits for the page it
// leads to.
func (t *tab) press(label string) {
	t.t.Helper()
	t.goThrough(fmt.Sprintf(`//*[self::main or self::header]//*[self::a or self::button][normalize-space()=%q]`, label))
}

// goThrough clicks on what a selector finds, and waits for the page it leads to.
func (t *tab) goThrough(selector string) {
	t.t.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	_, err := chromedp.RunResponse(ctx, click(selector))
	t.check("go through "+selector, err)
}

// click clicks on what a selector finds, of CSS or XPath.
func click(selector string) chromedp.Action[chromedp.Void] {
	if strings.HasPrefix(selector, "/") {
		return chromedp.Click(chromedp.Search(selector), chromedp.NodeVisible)
	}
	return chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible)
}

// unfold opens what is folded up.
func (t *tab) unfold(summary string) {
	t.t.Helper()
	t.run("unfold "+summary, click(fmt.Sprintf(`//summary[normalize-space()=%q]`, summary)))
}

// eval returns what a script finds.
func eval[T any](t *tab, script string) T {
	t.t.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	t.check(script, err)
	return value
}

// sees waits until a part of the page has a text.
func (t *tab) sees(selector, text string) {
	t.t.Helper()
	quoted, err := json.Marshal(text)
	require.NoError(t.t, err)
	script := fmt.Sprintf(`[...document.querySelectorAll(%q)].some((e) => e.innerText.replace(/\s+/g, ' ').includes(%s))`, selector, quoted)
	t.run(fmt.Sprintf("%s shows %q", selector, text), poll(script))
}

// waits waits until a script says yes.
func (t *tab) waits(script string) {
	t.t.Helper()
	t.run(script, poll("Boolean("+script+")"))
}

func poll(script string) chromedp.Action[chromedp.Void] {
	return chromedp.Poll[chromedp.Void](script, chromedp.WithPollingTimeout(patience), chromedp.WithPollingInterval(20*time.Millisecond))
}

// text returns what a part of the page shows.
func (t *tab) text(selector string) string {
	t.t.Helper()
	return eval[string](t, fmt.Sprintf(`document.querySelector(%q)?.innerText ?? "(there is none)"`, selector))
}

// screen sets the size of the window in CSS pixels, and light or dark.
func (t *tab) screen(width, height int64, scheme string) {
	t.t.Helper()
	_, err := chromedp.Call(t.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600,
	})
	t.check("screen", err)
	_, err = chromedp.Call(t.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	t.check("screen", err)
}

// picture takes a picture of the window.
func (t *tab) picture(path string) {
	t.t.Helper()
	picture, err := chromedp.Run(t.ctx, chromedp.CaptureScreenshot())
	t.check("picture", err)
	require.NoError(t.t, os.WriteFile(path, picture, 0o644))
}
