package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

const script = `<script>alert(1)</script><img src=x onerror=alert(2)>`

// Two processes, a real Redis and a real browser: what happens in one tab and
// process is seen in the other, and in Redis, also when a process is killed.
func TestBrowser(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		t.Parallel()
		r := newRig(t, s).withRedis()
		heard := listen(t, r)
		p, q := r.start(), r.start()
		b := newBrowser(t)
		here, there := b.open(p.url), b.open(q.url)
		there.sees("#live", "live")
		eval[bool](there, "window.untouched = true") // gone, should the page be loaded anew

		b.step(t, "a ticket", func(t *testing.T) {
			here.press("New ticket")
			here.fill("#summary", "It does not start "+script)
			here.fill("#description", "See WikiStart and NoSuchPage.\n\n"+script)
			here.fill("#author", "joe")
			here.press("Create the ticket")
			here.sees("h1", "#1 It does not start "+script)
			here.sees("#ticket .text", script)
			assert.Equal(t, "WikiStart|NoSuchPage", eval[string](here, `[...document.querySelectorAll('#ticket .text a')].map((a) => a.innerText).join('|')`))
			assert.True(t, eval[bool](here, `document.querySelector('#ticket .text a[href="/wiki/NoSuchPage"]').classList.contains('missing')`))
			there.sees("#timeline > li:first-child", "created #1 It does not start "+script+" joe")
		})

		b.step(t, "signed in, in both processes", func(t *testing.T) {
			here.press("Sign in")
			here.fill("#name", "ann")
			here.fill("#password", "secret of ann")
			here.press("Make an account")
			here.sees("header", "ann Sign out")
			other := b.open(q.url + "/account")
			other.sees("header", "ann Sign out")
		})

		b.step(t, "a change, live on the page of the ticket", func(t *testing.T) {
			page := b.open(q.url + "/tickets/1")
			page.sees("#live", "live")
			page.fill("#comment", "half a thought")
			here.visit(p.url + "/tickets/1")
			here.fill("#comment", "First line.\nSecond line.")
			here.unfold("Fields")
			here.fill("#milestone", "m1")
			here.choose("#status", "closed")
			here.press("Store the change")
			here.sees(".history > li:first-child", "changed by ann from 127.0.0.1, signed in")
			page.sees(".history > li:first-child", "milestone nothing → m1 resolution nothing → fixed status new → closed First line. Second line.")
			page.sees("h1 .badge", "closed: fixed")
			assert.Equal(t, "half a thought", eval[string](page, `document.querySelector('#comment').value`), "what is being written stays")
			page.sees(".history > li:last-child", "created by joe from 127.0.0.1, not signed in")
			there.sees("#timeline > li:first-child", "changed #1 It does not start "+script+" ann")
		})

		b.step(t, "pages, links and prefixes", func(t *testing.T) {
			ticket := b.open(q.url + "/wiki/WikiStart")
			ticket.sees("#live", "live")
			ticket.waits(`document.querySelector('#page a[href="/wiki/Release%20notes"].missing')`)
			here.visit(p.url + "/wiki")
			here.fill("#name", "Release notes")
			here.press("Go, or create it")
			here.fill("#text", "# Notes\n\n"+script+"\n\nSee PEP:8.")
			here.press("Save the page")
			here.sees("#page", script)
			assert.Zero(t, eval[int](here, `document.querySelectorAll('#page script, #page img').length`))
			ticket.waits(`document.querySelector('#page a[href="/wiki/Release%20notes"]:not(.missing)')`)
			there.sees("#timeline > li:first-child", "created Release notes ann")

			notes := b.open(q.url + "/wiki/Release%20notes")
			here.visit(p.url + "/wiki/InterMapTxt?action=edit")
			here.fill("#text", "----\nPEP  https://peps.python.org/pep-$1/  # Enhancement $1\n----\n")
			here.press("Save the page")
			here.sees("#prefixes", "PEP https://peps.python.org/pep-$1/ Enhancement $1")
			notes.waits(`document.querySelector('#page a[href="https://peps.python.org/pep-8/"]')`)

			here.visit(p.url + "/wiki/Release%20notes?action=edit")
			here.fill("#text", "# Notes\n\nShorter.")
			here.fill("#comment", "too long")
			here.press("Save the page")
			here.press("History")
			here.sees("#history > ol > li:first-child", "changed version 2 by ann from 127.0.0.1, signed in")
			here.goThrough(`#history a[href*="diff="]`)
			here.sees(".diff ins", "Shorter.")
			here.sees(".diff del", script)

			here.visit(p.url + "/wiki/Release%20notes?action=rename")
			here.fill("#to", "Notes/Of releases?")
			here.press("Rename the page")
			here.sees("h1", "Notes/Of releases?")
			there.sees("#timeline > li:first-child", "renamed Notes/Of releases? from Release notes ann")
			index := b.open(q.url + "/wiki")
			index.sees("#pages", "Notes/Of releases?")
			assert.NotContains(t, index.text("#pages"), "Release notes")
			notes.sees("#page", "There is no such page.")
			ticket.waits(`document.querySelector('#page a[href="/wiki/Release%20notes"].missing')`)
		})

		b.step(t, "what is forbidden here, is there", func(t *testing.T) {
			here.visit(p.url + "/wiki/BadContent?action=edit")
			here.fill("#text", "{{{\ncheap .* watches\n}}}\n")
			here.press("Save the page")
			there.sees("#timeline > li:first-child", "created BadContent ann")
			other := b.open(q.url + "/tickets/new")
			other.fill("#summary", "Buy cheap golden watches")
			other.press("Create the ticket")
			other.sees(".problem", `the page BadContent forbids "cheap .* watches"`)
			assert.Equal(t, "Buy cheap golden watches", eval[string](other, `document.querySelector('#summary').value`))
		})

		b.step(t, "a form that was refused stays as it was sent", func(t *testing.T) {
			page := b.open(q.url + "/tickets/1")
			page.sees("#live", "live")
			joe := newClient(t, p)
			page.fill("#comment", "a long comment on cheap golden watches")
			page.unfold("Fields")
			page.fill("#milestone", "m4")
			page.press("Store the change")
			page.sees(".problem", "the page BadContent forbids")
			page.sees("#live", "live")
			joe.send("/tickets/1", "/tickets/1", "comment", "meanwhile", "author", "joe")
			page.sees(".history > li:first-child", "meanwhile")
			assert.Equal(t, "a long comment on cheap golden watches", eval[string](page, `document.querySelector('#comment').value`))
			assert.Equal(t, "m4", eval[string](page, `document.querySelector('#milestone').value`))
		})

		b.step(t, "several at once", func(t *testing.T) {
			for _, summary := range []string{"two", "three", "four"} {
				here.visit(p.url + "/tickets/new")
				here.fill("#summary", summary)
				here.press("Create the ticket")
			}
			other := b.open(q.url + "/tickets")
			other.sees("#tickets", "four")
			other.run("tick", click(`#ticket4 input`))
			here.visit(p.url + "/tickets")
			for _, id := range []string{"2", "3", "4"} {
				here.run("tick", click(`#ticket`+id+` input`))
			}
			here.unfold("Change the chosen tickets")
			here.fill("#milestone", "together")
			here.press("Change them")
			here.sees("#ticket2", "together")
			other.sees("#ticket3", "together")
			assert.Equal(t, "4", eval[string](other, `[...document.querySelectorAll('#tickets input:checked')].map((e) => e.value).join()`), "what was ticked stays so")
			there.sees("#timeline > li:first-child", "milestone nothing → together")
			there.waits(`[...document.querySelectorAll('#timeline > li')].filter((li) => li.innerText.includes('together')).length === 3`)
			assert.Len(t, slices.Compact(strings.Fields(eval[string](there,
				`[...document.querySelectorAll('#timeline > li')].slice(0, 3).map((li) => li.dataset.place.split('.')[0]).join(' ')`))), 1, "they have one tid")
		})

		b.step(t, "what a page could not load, it loads later", func(t *testing.T) {
			page := b.open(q.url + "/tickets/2")
			page.sees("#live", "live")
			eval[bool](page, `window.failures = 0, (() => { const was = fetch; fetch = (...all) => failures++ < 2 ? Promise.reject(new TypeError('not now')) : was(...all); })(), true`)
			newClient(t, p).send("/tickets/2", "/tickets/2", "comment", "in spite of all", "author", "joe")
			page.sees(".history", "in spite of all")
			assert.Equal(t, 3, eval[int](page, "failures"))
		})

		b.step(t, "a timeline that is to stand still", func(t *testing.T) {
			page := b.open(q.url)
			page.sees("#live", "live")
			first := page.text("#timeline > li:first-child")
			page.run("pause", click("#pause"))
			c := newClient(t, p)
			for _, comment := range []string{"one more", "and another"} {
				c.send("/tickets/2", "/tickets/2", "comment", comment, "author", "joe")
			}
			page.sees("#pause", "Go on (2 new)")
			assert.Equal(t, first, page.text("#timeline > li:first-child"))
			page.run("go on", click("#pause"))
			page.sees("#timeline > li:nth-child(1)", "and another")
			page.sees("#timeline > li:nth-child(2)", "one more")
		})

		b.step(t, "what the page shows as it is now can be deleted", func(t *testing.T) {
			joe := newClient(t, p)
			page := b.open(q.url + "/tickets/3")
			page.sees("#live", "live")
			joe.send("/tickets/3", "/tickets/3", "comment", "one more", "author", "joe")
			page.sees(".history > li:first-child", "one more")
			page.unfold("Delete")
			page.press("Delete ticket #3")
			page.sees("h1", "Tickets")
			there.sees("#timeline > li:first-child", "deleted #3")
		})

		assert.True(t, eval[bool](there, "window.untouched === true"), "all of this appeared without loading the page anew")

		b.step(t, "a process is killed", func(t *testing.T) {
			status := b.open(p.url + "/status")
			holder := pidOf(t, status.text("#consumer-redis .holder"))
			dying, survivor := p, q
			if holder == q.cmd.Process.Pid {
				dying, survivor = q, p
			}
			require.Equal(t, holder, dying.cmd.Process.Pid)
			status.visit(survivor.url + "/status")
			watching := b.open(dying.url)
			watching.sees("#live", "live")
			eval[bool](watching, `window.told = [], (() => { const was = show; show = (html) => { told.push(html.match(/data-place="([^"]+)"/)[1]); was(html); }; })(), true`)
			dying.kill()
			for _, name := range []string{"redis", "mail"} {
				status.sees("#consumer-"+name+" .holder", "pid "+fmt.Sprint(survivor.cmd.Process.Pid)+", ")
				status.sees("#consumer-"+name+" .holder", "(this one)")
			}
			watching.sees("#live", "the connection is lost")
			c := newClient(t, survivor)
			c.ticket("summary", "made after that", "author", "joe")

			// The dead process's browsers come again when it does, and miss nothing.
			again := r.start("-listen", dying.address())
			watching.sees("#timeline > li:first-child", "created #5 made after that joe")
			watching.sees("#live", "live")
			newClient(t, again).ticket("summary", "and more")
			watching.sees("#timeline > li:first-child", "created #6 and more")
			assert.Equal(t, 2, eval[int](watching, `told.length`), "each was told once")
			assert.Equal(t, 2, eval[int](watching, `new Set(told).size`))
		})

		checkPublished(t, r, heard)
	})
}

// pidOf reads the number of a process on the status page.
func pidOf(t *testing.T, holder string) (pid int) {
	t.Helper()
	m := regexp.MustCompile(`pid (\d+)`).FindStringSubmatch(holder)
	require.NotNil(t, m, "%s", holder)
	_, err := fmt.Sscan(m[1], &pid)
	require.NoError(t, err)
	return pid
}

// listen subscribes to all that is published.
func listen(t *testing.T, r *rig) *redis.PubSub {
	client := redis.NewClient(&redis.Options{Addr: r.redis.Addr()})
	pubsub := client.PSubscribe(ticking(t), "trac.*")
	_, err := pubsub.Receive(ticking(t))
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, pubsub.Close())
		assert.NoError(t, client.Close())
	})
	return pubsub
}

// checkPublished holds what was published against the journal: each change once,
// in its order. (What is rare, such as a new name, is not published.)
func checkPublished(t *testing.T, r *rig, heard *redis.PubSub) {
	t.Helper()
	journal, _ := r.openJournal()
	encode := tracbus.PublisherConfig{}
	for e, err := range journal.Since(ticking(t), 0) {
		require.NoError(t, err)
		if e.Kind() == tracbus.KindRenamed {
			continue
		}
		channel, payload, err := encode.Encode(e)
		require.NoError(t, err)
		m, err := heard.ReceiveMessage(ticking(t))
		require.NoError(t, err, "behind %s", channel)
		assert.Equal(t, channel, m.Channel)
		assert.JSONEq(t, payload, m.Payload)
	}
	marker := redis.NewClient(&redis.Options{Addr: r.redis.Addr()})
	defer marker.Close()
	require.NoError(t, marker.Publish(context.Background(), "trac.end", "").Err())
	m, err := heard.ReceiveMessage(ticking(t))
	require.NoError(t, err)
	assert.Equal(t, "trac.end", m.Channel, "one message too many")
}

// The focus never moves on to something else when a part of a page is loaded anew.
func TestFocus(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	r := newRig(t, testdatabase.New(t, "sqlite"))
	page := b.open(r.start().url + "/account")
	rows := func(tids ...int) string {
		var html strings.Builder
		for _, tid := range tids {
			fmt.Fprintf(&html, `<button name="do" value="drop" aria-label="Give up tid %d">Give up</button>`, tid)
		}
		return html.String()
	}
	eval[bool](page, `document.querySelector('main').insertAdjacentHTML('beforeend', '<div id="region"></div>'), true`)
	load := func(html string) {
		eval[bool](page, fmt.Sprintf(`(() => { const now = document.createElement('div'); now.innerHTML = %q; replace(document.getElementById('region'), now); return true; })()`, html))
	}
	focused := func() string {
		return eval[string](page, `document.activeElement.getAttribute('aria-label') ?? document.activeElement.id`)
	}
	load(rows(2, 4, 6))
	eval[bool](page, `document.querySelector('[aria-label="Give up tid 4"]').focus(), true`)
	load(rows(1, 2, 4, 6))
	assert.Equal(t, "Give up tid 4", focused())
	load(rows(1, 2, 6))
	assert.Equal(t, "region", focused(), "what had the focus is gone")
}
