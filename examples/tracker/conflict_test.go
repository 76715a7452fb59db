package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/tests/testdatabase"
)

// Two visitors who change the same: the second is told, loses nothing of what was
// written, and takes back nothing of what the first did.
func TestConflicts(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		t.Parallel()
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
		assert.Regexp(t, regexp.MustCompile(`(?s)<b>priority</b> <del><bdi>minor</bdi></del> → <ins><bdi>blocker</bdi></ins>.*<b>milestone</b> <del><bdi>m1</bdi></del> → <ins><bdi>m2</bdi></ins>`), a.body)
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

		// What a form did not change, it does not take back.
		bob.signIn("bob")
		ann.signIn("ann")
		edit = ann.get("/wiki/WikiStart?action=edit").hidden()
		require.Equal(t, 200, bob.send("/wiki/WikiStart?action=edit", "/wiki/WikiStart", "text", "both texts", "readonly", "1", "do", "save").status)
		edit.Set("text", "her newer text")
		edit.Set("do", "save")
		a, err = ann.post(ticking(t), "/wiki/WikiStart", edit)
		require.NoError(t, err)
		assert.Contains(t, a.body, "her newer text")
		assert.Contains(t, a.body, "read-only")
		stranger := newClient(t, p)
		a = stranger.send("/wiki/WikiStart?action=edit", "/wiki/WikiStart", "text", "a stranger's", "do", "save")
		assert.Contains(t, a.problem(), "Sign in to change a page that is read-only")
		a = bob.send("/wiki/WikiStart?action=edit", "/wiki/WikiStart", "text", "her newer text", "do", "save")
		assert.NotContains(t, a.body, ", read-only")

		// What was changed since it was looked at is not deleted or renamed.
		move, remove := bob.get("/wiki/WikiStart?action=rename").hidden(), bob.get("/tickets/1").hidden()
		ann.send("/wiki/WikiStart?action=edit", "/wiki/WikiStart", "text", "newer still", "do", "save")
		ann.send("/tickets/1", "/tickets/1", "comment", "newer still")
		for _, do := range []string{"rename", "delete"} {
			move.Set("do", do)
			move.Set("to", "Elsewhere")
			a, err = bob.post(ticking(t), "/wiki/WikiStart", move)
			require.NoError(t, err)
			assert.Equal(t, 409, a.status, do)
		}
		a, err = bob.post(ticking(t), "/tickets/1/delete", remove)
		require.NoError(t, err)
		assert.Equal(t, 409, a.status)
		assert.Contains(t, a.problem(), "it is not deleted")
		assert.Equal(t, "/tickets", bob.send("/tickets/1", "/tickets/1/delete").path)
		gone := bob.get("/tickets/1")
		assert.Equal(t, 404, gone.status)
		assert.Contains(t, gone.body, "There is no such ticket any more")
		assert.Contains(t, gone.body, "newer still", "the history stays")

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

// Several tickets at once: all or none, and each by what it is.
func TestBatch(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		t.Parallel()
		r := newRig(t, s)
		c := newClient(t, r.start())
		c.signIn("ann")
		for range 3 {
			c.ticket("summary", "a ticket", "milestone", "m1", "status", "closed", "resolution", "invalid") // a new one is new
		}
		c.send("/tickets/1", "/tickets/1", "status", "closed", "resolution", "wontfix")
		batch := func(fields ...string) answer {
			return c.send("/tickets?status=all", "/tickets/batch", append([]string{"next", "/tickets?status=all"}, fields...)...)
		}
		for _, bad := range []string{"0", "-1", "x", "99999999999", ""} {
			a := batch("ticket", bad, "milestone", "milestone-2")
			assert.Equal(t, 404, a.status, "%q", bad)
		}
		assert.Equal(t, 404, batch("ticket", "1", "ticket", "77", "milestone", "milestone-2").status)
		assert.Equal(t, 422, batch("milestone", "milestone-2").status, "none chosen")
		assert.Equal(t, 422, batch("ticket", "1").status, "nothing to change")
		a := c.get("/tickets?status=all")
		assert.NotContains(t, a.body, "milestone-2", "nothing was stored of what was refused")
		assert.Equal(t, 3, strings.Count(a.body, `aria-label="Choose ticket`))

		a = batch("ticket", "3", "ticket", "1", "ticket", "2", "status", "closed", "comment", "together")
		require.Equal(t, "/tickets?status=all", a.path, "%s", a.problem())
		assert.Contains(t, c.get("/tickets/1").body, "closed: wontfix", "what was left empty stays as it is")
		assert.Contains(t, c.get("/tickets/2").body, "closed: fixed")
		batch("ticket", "1", "ticket", "2", "status", "reopened")
		assert.NotContains(t, c.get("/tickets/1").body, "wontfix</span>")

		// A resolution that is left over from earlier, and is shown, stays.
		_, db := r.openJournal()
		_, err := db.ExecContext(ticking(t), "UPDATE ticket SET status = 'new', resolution = 'wontfix' WHERE id = 3")
		require.NoError(t, err)
		a = c.send("/tickets/3", "/tickets/3", "status", "closed", "resolution", "wontfix")
		assert.Contains(t, a.body, "closed: wontfix")
		a = c.send("/tickets/1", "/tickets/1", "status", "closed", "resolution", "")
		assert.Contains(t, a.body, "closed: fixed", "a closed ticket has a resolution")
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
