package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/tests/testdatabase"
)

// Settings that cannot work are refused at the start, without a secret.
func TestSettings(t *testing.T) {
	r := newRig(t, testdatabase.New(t, "sqlite"))
	p := r.start()
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-lisen", "x"}, "flag provided but not defined: -lisen"},
		{[]string{"-help"}, "TRACKER_REDIS"},
		{[]string{"x"}, `arguments ["x"]: expected flags only`},
		{[]string{"-env", ""}, `-env "": expected a name`},
		{[]string{"-stream", "changes"}, `-stream "changes": expected -redis beside it`},
		{[]string{"-dialect", "oracle"}, `dialect "oracle": expected sqlite, postgresql or mysql`},
		{[]string{"-db", "/no/such/folder/tracker.db"}, "make tables"},
		{[]string{"-listen", p.address()}, "-listen: "},
		{[]string{"-redis", "http://user:secret@host"}, "-redis: "},
		{[]string{"-smtp", "host"}, `-smtp "host": expected host:port`},
		{[]string{"-smtp", "host:x"}, `-smtp "host:x": expected host:port`},
		{[]string{"-mail-domain", "no domain"}, `-mail-domain "no domain": expected a domain`},
		{[]string{"-mail-from", "nobody"}, `-mail-from "nobody": expected an address`},
	} {
		t.Run(fmt.Sprint(tc.args), func(t *testing.T) {
			r.env = nil
			if strings.Contains(tc.want, "flag") || strings.Contains(tc.want, "TRACKER") { // what says how to use it
				r.env = []string{"TRACKER_DB=postgres://user:secret@host/db", "TRACKER_REDIS=redis://user:secret@host"}
			}
			_, err := r.try(tc.args...)
			require.ErrorContains(t, err, tc.want)
			assert.NotContains(t, err.Error(), "secret")
		})
	}
}

// Without any setting, everything is kept in one file, in the folder where the
// program was started, and is there the next time.
func TestNoSettings(t *testing.T) {
	r := newRig(t, testdatabase.New(t, "sqlite"))
	r.dsn = ""
	p := r.start()
	newClient(t, p).ticket("summary", "the first")
	require.NoError(t, p.stop())
	files, err := filepath.Glob(filepath.Join(r.folder, "*"))
	require.NoError(t, err)
	assert.Equal(t, []string{filepath.Join(r.folder, "tracker.db")}, files)
	page := newClient(t, r.start()).get("/")
	assert.Contains(t, page.body, "the first")
	assert.Contains(t, page.body, "WikiStart")
}
