package main

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
)

// A name that no process runs any more can be forgotten, also where it failed to
// the last: it would keep the journal from being pruned.
func TestForgottenName(t *testing.T) {
	t.Parallel()
	r := newRig(t, testdatabase.New(t, "sqlite"))
	row := func(c *client) string {
		return regexp.MustCompile(`(?s)<tr id="consumer-redis">.*?</tr>`).FindString(c.get("/status").body)
	}
	p := r.start("-redis", "redis://127.0.0.1:1")
	c := newClient(t, p)
	c.signIn("ann")
	c.ticket("summary", "not published")
	eventually(t, "that Redis is away is shown", func() bool { return regexp.MustCompile(`fails for .*refused`).MatchString(row(c)) })
	assert.NotContains(t, row(c), "Forget the consumer")
	require.NoError(t, p.stop())

	c = newClient(t, r.start())
	require.Equal(t, "/status", c.send("/account", "/account", "name", "ann", "password", "the password of ann", "do", "sign in", "next", "/status").path)
	assert.Contains(t, row(c), "fails for")
	assert.Contains(t, row(c), "Forget the consumer")
	require.Equal(t, "/status", c.send("/status", "/status", "do", "drop-consumer", "name", "redis").path)
	assert.Empty(t, row(c))
}

// A page of which some lines cannot be used is used for the rest, and its reader and the
// operator are told so. The status leads to no page that is not there.
func TestPageThatIsUsedInPart(t *testing.T) {
	s, p := newInside(t, settings{})
	c := newClient(t, p)
	c.signIn("ann")
	for _, page := range []string{"InterMapTxt", "BadContent"} {
		text := "----\nPEP https://peps.python.org/pep-$1/\n" + strings.Repeat("x", 101) + " https://example.org/\n----\n{{{\n(\n}}}\n"
		tid, err := s.journal.Update(ticking(t), tracbus.Actor{Author: "ann"}, func(tx *tracbus.ModelTransaction) error {
			return tx.Save(ticking(t), trac.PageEdit{Name: page, Text: &text, Base: trac.NoPage})
		})
		require.NoError(t, err)
		s.wait(ticking(t), tid)
		assert.Contains(t, c.get("/wiki/"+page).problem(), "A part of this version is not used")
		assert.Contains(t, c.get("/status").body, `A part of the newest version of <a href="/wiki/`+page)
	}
	assert.NotContains(t, c.get("/status").body, `href="/metrics"`)
}

// Metrics are for nobody unless they are asked for, and then at an address of their own.
func TestMetrics(t *testing.T) {
	t.Parallel()
	r := newRig(t, testdatabase.New(t, "sqlite"))
	p := r.start("-metrics", "127.0.0.1:0")
	assert.Contains(t, p.figures(), "tracbus_journal_head")
	c := newClient(t, p)
	assert.Equal(t, 404, c.get("/metrics").status, "visitors do not reach them")
	request, err := http.NewRequestWithContext(ticking(t), http.MethodGet, p.metrics+"/metrics", nil)
	require.NoError(t, err)
	request.Host = "evil.example.org"
	a, err := c.do(request)
	require.NoError(t, err)
	assert.Equal(t, 421, a.status, "nor does another site's page")
	q := r.start()
	assert.Empty(t, q.metrics)
	assert.Equal(t, 404, newClient(t, q).get("/metrics").status)
	require.NoError(t, p.stop())
	_, err = r.try("-metrics", q.address())
	assert.ErrorContains(t, err, "-metrics: ")
}
