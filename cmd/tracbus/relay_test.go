package main_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// What Trac writes is published, by whichever relay runs, once; and what is written while
// none does, when one does again.
func TestRelay(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		e := newEnvironment(t, s)
		heard := e.listen()

		code, _, said := e.run("relay")
		assert.Equal(t, 1, code, "it makes nothing unless it is told to")
		assert.Contains(t, said, "relay -install")
		st, code := e.status()
		assert.Equal(t, 3, code)
		assert.Equal(t, []string{"journal_missing"}, st.codes())

		first := e.relay("-install")
		e.ticket("one")
		heard.created("one")
		st, code = e.status()
		assert.Equal(t, 0, code, "%v", st.Problems)
		assert.Contains(t, st.Capture.Captured, "ticket")

		first.signal(syscall.SIGKILL) // in whatever it does
		assert.Equal(t, -1, first.code())
		e.ticket("two")
		second := e.relay() // without -install: nothing is to be made
		heard.created("two")
		third := e.relay()
		e.ticket("three")
		heard.created("three")
		holder := func() string { // its pid
			st, _ := e.status()
			require.Len(t, st.Consumers, 1)
			return st.Consumers[0].Holder
		}
		held := holder()
		second.signal(syscall.SIGTERM)
		assert.Equal(t, 0, second.code())
		e.ticket("four")
		heard.created("four")
		testkit.Until(t, "the other relay holds the consumer", func() bool { h := holder(); return h != "" && h != held })
		third.signal(syscall.SIGINT)
		assert.Equal(t, 0, third.code())
		heard.silent()

		st, code = e.status()
		assert.Equal(t, 3, code)
		assert.Equal(t, []string{"consumer_not_held"}, st.codes())
		require.Len(t, st.Consumers, 1)
		assert.Empty(t, st.Consumers[0].Holder, "no lease is left")
		assert.Zero(t, st.Consumers[0].Lag)

		e.ticket("waits")
		code, _, said = e.run("relay", "-once")
		assert.Equal(t, 0, code, said)
		heard.created("waits")
		code, _, said = e.run("relay", "-once", "-consumer", "second", "-from-oldest")
		assert.Equal(t, 0, code, said)
		for _, summary := range []string{"one", "two", "three", "four", "waits"} {
			heard.created(summary)
		}
		heard.silent()

		code, printed, _ := e.run("uninstall", "-yes")
		assert.Equal(t, 0, code)
		assert.Equal(t, "the triggers are dropped\n", printed)
		e.ticket("five")
		st, _ = e.status()
		assert.Equal(t, []string{"capture_off", "consumer_not_held"}, st.codes())
	})
}

// On PostgreSQL, a relay hears of what Trac writes, and need not look: here its poll is an hour
// away. So does the next relay, which installs nothing.
func TestRelayIsNotified(t *testing.T) {
	e := newEnvironment(t, testdatabase.New(t, "postgresql"))
	heard := e.listen()
	for i, flags := range [][]string{{"-install"}, nil} {
		p := e.relay(append([]string{"-poll", "1h"}, flags...)...)
		testkit.Until(t, "it listens for both", func() (both bool) {
			// Before, it proves that it would hear; and on a machine that is slow, it asks after a time whether the server is there.
			require.NoError(t, e.db.QueryRow(`SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'tracbus'
				AND (query LIKE 'LISTEN %' AND query NOT LIKE '%:proof:%' OR query = 'SELECT 1')`).Scan(&both))
			return both && p.said.String() != ""
		})
		for n := range 3 {
			summary := fmt.Sprintf("ticket %d of relay %d", n, i)
			e.ticket(summary)
			heard.created(summary)
		}
		assert.NotContains(t, p.said.String(), "poll")
		p.signal(syscall.SIGTERM)
		assert.Equal(t, 0, p.code())
	}
}

// Whoever starts a relay is told when it runs, and when it ends.
func TestRelayTellsSystemd(t *testing.T) {
	e := newEnvironment(t, testdatabase.New(t, "sqlite"))
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	require.NoError(t, err)
	defer conn.Close()
	e.vars = append(e.vars, "NOTIFY_SOCKET="+socket)
	told := func() string {
		b := make([]byte, 100)
		deadline, _ := testkit.Within(t).Deadline()
		require.NoError(t, conn.SetReadDeadline(deadline))
		n, err := conn.Read(b)
		require.NoError(t, err)
		return string(b[:n])
	}
	p := e.start("relay", "-install", "-log", "json")
	assert.Equal(t, "READY=1", told())
	p.signal(syscall.SIGTERM)
	assert.Equal(t, "STOPPING=1", told())
	assert.Equal(t, 0, p.code())
	for line := range strings.Lines(p.said.String()) {
		assert.True(t, strings.HasPrefix(line, "{"), "%q is JSON", line)
	}
}

// A second signal ends a relay that is about to end, and cannot.
func TestRelayEndsAtASecondSignal(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	e := newEnvironment(t, s)
	p := e.relay("-install", "-grace", "1h")
	testkit.Until(t, "it has the lease", func() bool { return strings.Contains(p.said.String(), "has acquired a consumer's lease") })
	tx, err := e.db.BeginTx(testkit.Within(t), nil) // its lease cannot be given up
	require.NoError(t, err)
	defer tx.Rollback()
	p.signal(syscall.SIGTERM)
	testkit.Until(t, "the first signal is taken", func() bool { return p.over() || strings.Contains(p.said.String(), "is told to end") })
	p.signal(syscall.SIGTERM)
	assert.Equal(t, -1, p.code(), "by the signal")
}
