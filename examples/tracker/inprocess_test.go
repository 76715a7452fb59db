package main

import (
	"io"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/examples/internal/tracdb"
)

// newInside is a tracker on SQLite within the test's process: for what cannot be seen from
// without, as how often something is done, or how much memory it takes.
func newInside(t *testing.T, o settings) (*site, *process) {
	t.Helper()
	o.env, o.dialect = "tracker", tracbus.SQLite
	o.mail.from = "tracker@localhost"
	db, err := tracdb.Open(ticking(t), o.dialect, tracdb.File(filepath.Join(t.TempDir(), "tracker.db")), ownTables)
	require.NoError(t, err)
	c, err := openChanges(ticking(t), db, o)
	require.NoError(t, err)
	require.NoError(t, c.welcome(ticking(t)))
	s := newSite(c, db, o, "inside")
	server := httptest.NewUnstartedServer(nil)
	server.Config = newServer(s)
	server.Config.ErrorLog.SetOutput(io.Discard)
	server.Start()
	t.Cleanup(func() {
		s.endStreams()
		server.Close()
		assert.NoError(t, c.close(ticking(t)))
		assert.NoError(t, db.Close())
	})
	return s, &process{t: t, url: server.URL, log: &logBuffer{}}
}
