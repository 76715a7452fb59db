package main

import (
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/tests/testdatabase"
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

// What the page Status says, and metrics, is not for everybody.
func TestMetrics(t *testing.T) {
	t.Parallel()
	p := newRig(t, testdatabase.New(t, "sqlite")).start()
	c := newClient(t, p)
	assert.Contains(t, c.get("/metrics").body, "tracbus_journal_head")
	for _, header := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "Forwarded"} {
		r, err := http.NewRequestWithContext(ticking(t), http.MethodGet, p.url+"/metrics", nil)
		require.NoError(t, err)
		r.Header.Set(header, "x")
		a, err := c.do(r)
		require.NoError(t, err)
		assert.Equal(t, 403, a.status, header)
	}
}
