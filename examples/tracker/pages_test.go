package main

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/tests/testdatabase"
)

// A page shows no less than what it is said to show: a browser that watches for
// what comes behind it would never be told of the rest.
func TestPagesAreNotBehind(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		t.Parallel()
		r := newRig(t, s)
		p, q := newClient(t, r.start()), newClient(t, r.start())
		for i := range 5 {
			page := fmt.Sprintf("/wiki/Page%d", i)
			a := p.send(page+"?action=edit", page, "do", "save", "text", "x", "author", "joe")
			require.Equal(t, page, a.path, "%s", a.problem())
			assert.Contains(t, q.get("/wiki").body, page, "at once in the other process")
		}
	})
}
