package mail_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// The size of a mail test: each process makes so many transactions, which have
// so many changes.
const (
	trackers     = 4
	transactions = 20
	changesEach  = 25
)

// rig is a mail server and four trackers, each a process.
type rig struct {
	*desk.Desk // for operators, in this process: it sends no mail
	t          *testing.T
	start      orders // of a tracker

	folder   string
	server   *record.Child
	trackers [trackers]*record.Child
	all      []*record.Child
}

func newRig(t *testing.T, s *testdatabase.Server, once *tracbus.DurableConfig) *rig {
	t.Helper()
	testkit.NoLeaks(t)
	dsn := s.DSN(s.Name())
	r := &rig{t: t, folder: t.TempDir(), start: orders{Dialect: tracbus.Dialect(s.Dialect), DSN: dsn, Once: once}}
	r.Desk = desk.Seat(t, s, dsn, desk.Config{Idle: true})
	t.Cleanup(func() {
		for _, c := range r.all {
			c.Kill()
			if b, err := os.ReadFile(r.path(c.Name + ".err")); err == nil && t.Failed() && len(b) > 0 {
				t.Logf("%s wrote\n%.3000s", c.Name, b)
			}
		}
	})
	r.startServer("127.0.0.1:0")
	for i := range r.trackers {
		r.startTracker(i)
	}
	for _, c := range r.trackers {
		r.hear(c, "mail: ready")
	}
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.folder, name) }

// startServer starts a mail server that goes on with the log of the one before.
func (r *rig) startServer(address string) {
	r.t.Helper()
	r.server = r.begin("server", orders{Server: address, Log: r.path("kept.log")})
	r.start.Server = r.hear(r.server, "mail: at ")
}

func (r *rig) startTracker(i int) {
	r.t.Helper()
	o := r.start
	o.Run = fmt.Sprintf("p%d.%d", i, len(r.all))
	r.trackers[i] = r.begin(o.Run, o)
}

func (r *rig) begin(name string, o orders) *record.Child {
	r.t.Helper()
	orders, err := json.Marshal(o)
	require.NoError(r.t, err)
	program, err := os.Executable()
	require.NoError(r.t, err)
	c := &record.Child{Name: name}
	c.Begin(r.t, program, "TestMail", processEnv+"="+string(orders), r.path(name+".err"))
	r.all = append(r.all, c)
	return c
}

// hear waits until a process says a line, and returns what follows its beginning.
func (r *rig) hear(c *record.Child, beginning string) (rest string) {
	r.t.Helper()
	timeout := time.NewTimer(2 * testkit.Patience)
	defer timeout.Stop()
	for {
		select {
		case line := <-c.Said:
			if rest, ok := strings.CutPrefix(line, beginning); ok {
				return rest
			}
		case <-c.Gone:
			r.t.Fatalf("%s is gone: %v; expected %q", c.Name, c.Cmd.ProcessState, beginning)
		case <-timeout.C:
			r.t.Fatalf("%s did not say %q", c.Name, beginning)
		}
	}
}

// order has the mail server obey.
func (r *rig) order(format string, values ...any) {
	r.t.Helper()
	line := fmt.Sprintf(format, values...)
	r.server.Order(line)
	r.hear(r.server, "mail: "+line)
}

// change has all trackers commit their changes, at the same time.
func (r *rig) change() {
	r.t.Helper()
	for _, c := range r.trackers {
		c.Order(fmt.Sprintf("change %d", transactions))
	}
	for _, c := range r.trackers {
		r.hear(c, "mail: changed")
	}
}

// killHeld kills the tracker whose mail the server holds, and returns its number.
func (r *rig) killHeld() int {
	r.t.Helper()
	held := r.hear(r.server, "mail: holds ")
	for i, c := range r.trackers {
		if c.Name == held {
			c.Kill()
			return i
		}
	}
	r.t.Fatalf("%s is no tracker that runs", held)
	return 0
}

// awayFor has clients find nobody in the mail server's place, so many times.
func (r *rig) awayFor(times int) {
	r.t.Helper()
	r.server.Kill()
	l, err := net.Listen("tcp", r.start.Server)
	require.NoError(r.t, err)
	defer l.Close()
	for range times {
		require.NoError(r.t, l.(*net.TCPListener).SetDeadline(time.Now().Add(testkit.Patience)))
		conn, err := l.Accept()
		require.NoError(r.t, err)
		require.NoError(r.t, conn.Close())
	}
}

// finish ends the trackers in order, and returns the mails that the server kept.
func (r *rig) finish() (letters []letter) {
	r.t.Helper()
	for _, c := range r.trackers {
		c.Order("finish")
	}
	for _, c := range r.trackers {
		<-c.Gone
		assert.True(r.t, c.Killed || c.Cmd.ProcessState.Success(), "%s ended: %v", c.Name, c.Cmd.ProcessState)
	}
	b, err := os.ReadFile(r.path("kept.log"))
	require.NoError(r.t, err)
	for line := range bytes.Lines(b) {
		var l letter
		require.NoError(r.t, json.Unmarshal(line, &l))
		letters = append(letters, l)
	}
	return letters
}

// stalls counts how often a process lost the name though it lived.
func (r *rig) stalls() (n int) {
	r.t.Helper()
	for _, c := range r.all {
		b, err := os.ReadFile(r.path(c.Name + ".err"))
		require.NoError(r.t, err)
		n += bytes.Count(b, []byte("gives up a consumer's lease"))
	}
	return n
}

// change is a change as the tables have it, and the mail that it asks for.
type change struct {
	id     string // of the mail
	ticket string
	author string // who is the process that made it
}

// changes returns what the tables have, in order.
func (r *rig) changes() (all []change) {
	r.t.Helper()
	st, err := r.Status(testkit.Within(r.t))
	require.NoError(r.t, err)
	name := "primary"
	if r.start.Once != nil {
		name = "mail"
	}
	rows, err := r.DB.QueryContext(testkit.Within(r.t), `SELECT tid, seq, commit_id, id, author
		FROM journal_change WHERE realm = 'ticket' ORDER BY tid, seq`)
	require.NoError(r.t, err)
	defer rows.Close()
	for rows.Next() {
		var tid int64
		var seq int
		var mark string
		var c change
		require.NoError(r.t, rows.Scan(&tid, &seq, &mark, &c.ticket, &c.author))
		c.id = mailID(tid, seq, mark, name, st.UUID)
		all = append(all, c)
	}
	require.NoError(r.t, rows.Err())
	return all
}

// ids returns the ids of the changes' mails.
func ids(changes []change) []string {
	all := make([]string, len(changes))
	for i, c := range changes {
		all[i] = c.id
	}
	return all
}

// lettersOf returns the ids of the mails that came from a client, or from all: "".
func lettersOf(letters []letter, client string) (all []string) {
	for _, l := range letters {
		if client == "" || l.Sender == client {
			all = append(all, l.ID)
		}
	}
	return all
}

// sameMails compares the ids of mails, in order.
func sameMails(t *testing.T, want, got []string, what string) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			near := func(all []string) []string { return all[min(i, len(all)):min(i+3, len(all))] }
			t.Errorf("%s: %d mails, expected %d\nfrom the one with number %d: %s\nexpected:                   %s",
				what, len(got), len(want), i+1, near(got), near(want))
			return
		}
	}
}
