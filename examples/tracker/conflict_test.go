package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testdatabase"
)

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
