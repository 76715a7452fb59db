// Package mail_test has processes send a mail for each change, and kills them and
// the mail server in the middle.
package mail_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestMail lets four processes change tickets at the same time, and compares the
// mails that a mail server got with the tables.
func TestMail(t *testing.T) {
	if orders := os.Getenv(processEnv); orders != "" {
		runProcess(t, orders)
		return
	}
	for _, dialect := range []string{"sqlite", "postgresql"} {
		t.Run(dialect, func(t *testing.T) {
			s := testdatabase.New(t, dialect)
			t.Run("Once", func(t *testing.T) { testDurable(t, s) })
			t.Run("Once, killed", func(t *testing.T) { testDurableKilled(t, s) })
			if dialect == "sqlite" {
				return // for the rest all databases are the same
			}
			t.Run("Once, server away", func(t *testing.T) { testServerAway(t, s) })
			t.Run("Once, refused for good", func(t *testing.T) { testRefused(t, s) })
			t.Run("Primary", func(t *testing.T) { testPrimary(t, s) })
			t.Run("Primary, killed", func(t *testing.T) { testPrimaryKilled(t, s) })
		})
	}
}

// durable is patient with a process that waits long for a busy database or
// processor: it must not lose the name, or it may repeat a mail.
func durable() *tracbus.DurableConfig {
	return &tracbus.DurableConfig{LeaseFor: 10 * time.Second, Backoff: 5 * time.Millisecond}
}

// total is how many changes all processes make.
const total = trackers * changesEach

// Under Primary each process sends the mails of its own changes.
func testPrimary(t *testing.T, s *testdatabase.Server) {
	r := newRig(t, s, nil)
	r.change()
	r.order("has %d", total)
	letters, changes := r.finish(), r.changes()
	require.Len(t, changes, total)
	assert.ElementsMatch(t, ids(changes), lettersOf(letters, ""), "one mail for each change")
	for _, c := range r.trackers {
		own := slices.DeleteFunc(slices.Clone(changes), func(m change) bool { return m.author != c.Name })
		sameMails(t, ids(own), lettersOf(letters, c.Name), "the changes of "+c.Name+", in order")
	}
	t.Logf("%d changes, %d mails", len(changes), len(letters))
}

// What a process had not sent when it was killed, nobody sends.
func testPrimaryKilled(t *testing.T, s *testdatabase.Server) {
	r := newRig(t, s, nil)
	r.order("hold before %s 3", r.trackers[0].Name) // the answer to MAIL, once 3 are sent
	r.order("hold after %s 6", r.trackers[1].Name)  // the answer to the data of the 6th
	r.change()
	sent := map[string]int{}
	for range 2 {
		i := r.killHeld()
		sent[r.trackers[i].Name] = 3 + 3*i
	}
	r.order("go on")
	r.order("has %d", 3+6+2*changesEach)
	letters, changes := r.finish(), r.changes()
	require.Len(t, changes, total)
	for _, c := range r.trackers {
		own := slices.DeleteFunc(slices.Clone(changes), func(m change) bool { return m.author != c.Name })
		if n, killed := sent[c.Name]; killed {
			own = own[:n]
		}
		sameMails(t, ids(own), lettersOf(letters, c.Name), "the mails of "+c.Name)
	}
	t.Logf("%d changes, %d kills, %d mails: %d lost", len(changes), len(sent), len(letters), len(changes)-len(letters))
}

// Under Durable one process sends all.
func testDurable(t *testing.T, s *testdatabase.Server) {
	r := newRig(t, s, durable())
	r.change()
	r.order("has %d", total)
	letters, changes := r.finish(), r.changes()
	require.Len(t, changes, total)
	sameMails(t, ids(changes), lettersOf(letters, ""), "one mail for each change, in the order of tids")
	first := letters[0]
	assert.ElementsMatch(t, []string{"owner" + changes[0].ticket + "@example.org", "ann@example.org", "bob@example.com"}, first.To)
	assert.Equal(t, "[myenv] ticket "+changes[0].ticket+" changed by "+changes[0].author+": It does not start.", first.Subject)
	t.Logf("%d changes, %d mails", len(changes), len(letters))
}

// Whoever sends is killed, again and again, in the middle of a mail: another
// goes on, and only a mail that the server had not yet said yes to comes twice.
func testDurableKilled(t *testing.T, s *testdatabase.Server) {
	once := durable()
	once.LeaseFor = 1500 * time.Millisecond // for which the others wait
	r := newRig(t, s, once)
	kills := []struct {
		when string
		kept int
	}{{"after", 20}, {"before", 45}, {"after", 70}}
	for _, k := range kills {
		r.order("hold %s * %d", k.when, k.kept)
	}
	r.order("refuse 451") // until all is committed: no writers keep it from renewing its lease
	r.change()
	r.order("accept")
	for range kills {
		r.startTracker(r.killHeld())
		r.order("go on")
	}
	testkit.Until(t, "all is sent", func() bool { return r.mailStatus().Lag == 0 })
	letters, changes := r.finish(), r.changes()
	require.Len(t, changes, total)
	first, seen := []string{}, map[string]bool{}
	for _, id := range lettersOf(letters, "") {
		if !seen[id] {
			first = append(first, id)
		}
		seen[id] = true
	}
	sameMails(t, ids(changes), first, "a mail for each change, in the order of tids")
	// Two came whose senders did not hear of it. Another may have, should a
	// process have stood still for so long that it lost the name.
	repeated, stalls := len(letters)-len(first), r.stalls()
	assert.GreaterOrEqual(t, repeated, 2)
	assert.LessOrEqual(t, repeated, 2+stalls)
	t.Logf("%d changes, %d kills, %d mails: %d lost, %d repeated", len(changes), len(kills), len(letters), len(changes)-len(first), repeated)
}

// What the server does not take now is sent when it does.
func testServerAway(t *testing.T, s *testdatabase.Server) {
	r := newRig(t, s, durable())
	r.order("refuse 451")
	r.change()
	r.hear(r.server, "mail: refuses")
	testkit.Until(t, "the status says why", func() bool { return r.mailStatus().Err != "" })
	assert.Contains(t, r.mailStatus().Err, "451")
	assert.EqualValues(t, total, r.mailStatus().Lag)
	r.awayFor(2)
	r.startServer(r.start.Server)
	r.order("has %d", total)
	testkit.Until(t, "the status says that all is well", func() bool { return r.mailStatus().Err == "" })
	letters, changes := r.finish(), r.changes()
	require.Len(t, changes, total)
	sameMails(t, ids(changes), lettersOf(letters, ""), "one mail for each change, in the order of tids")
	t.Logf("%d changes, %d mails", len(changes), len(letters))
}

// mailStatus returns how the name stands.
func (r *rig) mailStatus() tracbus.ConsumerStatus {
	st, err := r.Status(testkit.Within(r.t))
	require.NoError(r.t, err)
	require.Len(r.t, st.Consumers, 1)
	return st.Consumers[0]
}

// A mail that the server never takes does not keep back the others, if that is
// asked for; it is sent when an operator says so.
func testRefused(t *testing.T, s *testdatabase.Server) {
	once := durable()
	once.MaxAttempts = 3
	r := newRig(t, s, once)
	r.order("refuse owner3@example.org")
	r.change()
	changes := r.changes()
	require.Len(t, changes, total)
	want := slices.DeleteFunc(slices.Clone(changes), func(c change) bool { return c.ticket == "3" })
	r.order("has %d", len(want))
	refused := total - len(want)
	testkit.Until(t, "all are sent or set aside", func() bool { st := r.mailStatus(); return st.DeadLetters == refused && st.Lag == 0 })
	for a, err := range r.DeadLetters(testkit.Within(t), "mail") {
		require.NoError(t, err)
		assert.Equal(t, tracbus.Resource{Realm: tracbus.RealmTicket, ID: "3"}, a.Resource)
		assert.Equal(t, 3, a.Attempts, "tid %d", a.TID)
		assert.Regexp(t, `550.*unknown here: owner3@example.org`, a.Err, "tid %d", a.TID)
	}

	r.order("accept")
	n, err := r.Redeliver(testkit.Within(t), "mail")
	require.NoError(t, err)
	assert.Equal(t, refused, n)
	r.order("has %d", total)
	testkit.Until(t, "none is set aside", func() bool { return r.mailStatus().DeadLetters == 0 })
	for _, c := range changes {
		if c.ticket == "3" {
			want = append(want, c)
		}
	}
	letters := r.finish()
	sameMails(t, ids(want), lettersOf(letters, ""), "one mail for each change, in the order of tids, those that were set aside last")
	t.Logf("%d changes, %d mails, %d of them were set aside", len(changes), len(letters), refused)
}
