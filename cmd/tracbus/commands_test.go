package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
)

// lines reads JSON lines.
func lines(t *testing.T, printed string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(printed) {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m), line)
		all = append(all, m)
	}
	return all
}

// tail begins to print, and returns when nothing is missed any more.
func (e *environment) tail(args ...string) *process {
	e.t.Helper()
	p := e.start(append([]string{"tail"}, args...)...)
	testkit.Until(e.t, "it reads", func() bool {
		return p.over() || strings.Contains(p.said.String()+p.out.String(), "from here on nothing is missed") || strings.Contains(p.out.String(), `"gap":"subscribed"`)
	})
	require.False(e.t, p.over(), "%s", &p.said)
	return p
}

// What a relay publishes is what tail prints from each source, and history and prune of the
// same journal.
func TestCommands(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		e := newEnvironment(t, s)
		e.ini(e.connection("trac"), "[redispub]\nstream = {trac}:changes\nnew_values = all\n")
		e.relay("-install")
		channels := e.tail("-json", "-n", "2")
		text := e.tail("-filter", "ticket/changed", "-n", "1")
		changed := e.tail("-json", "-filter", "ticket/changed", "-n", "1")

		evil := "evil \x1b[2J\u202etxt\u009b31m"
		e.ticket(evil)
		e.ticket("other")
		code := channels.code()
		assert.Equal(t, 0, code)
		got := lines(t, channels.out.String())
		require.Len(t, got, 3)
		assert.Equal(t, "subscribed", got[0]["gap"])
		assert.Equal(t, "trac.myenv.ticket.created", got[1]["channel"])
		assert.Equal(t, evil, got[1]["payload"].(map[string]any)["summary"])
		assert.Equal(t, []any{"myenv", "ticket", "1", "created"}, []any{got[1]["env"], got[1]["realm"], got[1]["id"], got[1]["kind"]})
		assert.NotContains(t, got[1], "tid")

		// Trac's save of a change; then its deletion of the other.
		e.together(
			"UPDATE ticket SET changetime = changetime + 1, status = 'closed' WHERE id = 1",
			"INSERT INTO ticket_change (ticket, time, author, field, oldvalue, newvalue) SELECT 1, changetime, 'joe', 'status', 'new', 'closed' FROM ticket WHERE id = 1",
			"INSERT INTO ticket_change (ticket, time, author, field, oldvalue, newvalue) SELECT 1, changetime, 'joe', 'comment', '1', 'done\a' FROM ticket WHERE id = 1",
		)
		assert.Equal(t, 0, text.code())
		assert.Contains(t, text.out.String(), `status: "new" → "closed"`)

		stream := e.start("tail", "-from", "stream", "-since", "0", "-json", "-filter", "ticket", "-n", "3")
		assert.Equal(t, 0, stream.code())
		got = lines(t, stream.out.String())
		last := got[len(got)-1]
		assert.Equal(t, "trac.myenv.ticket.changed.1", last["channel"])
		assert.Equal(t, []any{"joe", "done\a", "1"}, []any{last["author"], last["comment"], last["id"]})
		assert.Contains(t, last, "tid")
		assert.Contains(t, last, "entry")
		assert.Equal(t, 0, changed.code())
		got = lines(t, changed.out.String())
		assert.Equal(t, last["payload"], got[len(got)-1]["payload"], "the message as it was sent")

		journal := e.start("tail", "-from", "journal", "-since", "0", "-json", "-n", "4", "-poll", "1ms")
		e.exec("DELETE FROM ticket WHERE id = 2")
		assert.Equal(t, 0, journal.code())
		fromJournal := lines(t, journal.out.String())
		require.Len(t, fromJournal, 4)
		assert.Equal(t, last["commit_id"], fromJournal[2]["commit_id"])
		assert.Equal(t, last["payload"], fromJournal[2]["payload"], "the message that was published")
		assert.Equal(t, "deleted", fromJournal[3]["kind"])
		assert.Equal(t, "joe", fromJournal[0]["author"])
		for _, name := range []string{"author", "ipnr", "authenticated"} {
			assert.NotContains(t, fromJournal[3], name, "nobody knows")
		}

		code, printed, _ := e.run("history", "ticket", "1", "-json")
		assert.Equal(t, 0, code)
		assert.Equal(t, []map[string]any{fromJournal[0], fromJournal[2]}, lines(t, printed))
		code, printed, _ = e.run("history", "-newest", "-n", "1", "ticket", "1")
		assert.Equal(t, 0, code)
		assert.Contains(t, printed, "ticket 1  changed  by joe  \"done\\a\"")

		for _, words := range [][]string{{"history", "ticket", "1"}, {"tail", "-from", "journal", "-since", "0", "-n", "2"}, {"history", "ticket", "1", "-json"}} {
			_, printed, said := e.run(words...)
			assert.Contains(t, printed, "evil")
			for _, bad := range []string{"\x1b", "\u202e", "\u009b", "\a"} {
				assert.NotContains(t, printed+said, bad, "%q", words)
			}
		}

		testkit.Until(t, "the publisher's cursor is stored", func() bool {
			st, _ := e.status()
			return len(st.Consumers) == 1 && st.Consumers[0].Lag == 0
		})
		// What Trac wrote at about the same time may be one transaction of the journal.
		tids := map[any]bool{}
		for _, l := range fromJournal[:3] {
			tids[l["tid"]] = true
		}
		code, printed, _ = e.run("prune", "-keep-last", "1", "-dry-run", "-json")
		assert.Equal(t, 0, code)
		assert.Equal(t, fmt.Sprintf("{\"would_delete\":%d}\n", len(tids)), printed)
		code, printed, _ = e.run("prune", "-keep-for", "1d")
		assert.Equal(t, 0, code)
		assert.Equal(t, "0 transactions were deleted\n", printed)
		code, printed, _ = e.run("prune", "-keep-last", "1")
		assert.Equal(t, 0, code)
		assert.Equal(t, fmt.Sprintf("%d transactions were deleted\n", len(tids)), printed)
		_, printed, _ = e.run("prune", "-keep-last", "1", "-dry-run")
		assert.Equal(t, "0 transactions would be deleted\n", printed)
		_, printed, _ = e.run("tail", "-from", "journal", "-since", "1", "-json", "-n", "1")
		got = lines(t, printed)
		require.Len(t, got, 2)
		assert.Equal(t, "pruned", got[0]["gap"])
		assert.Equal(t, "deleted", got[1]["kind"])
	})
}

// Tail ends with code 0 at a signal, whatever it reads, and says what it cannot decode.
func TestTailEnds(t *testing.T) {
	e := newEnvironment(t, testdatabase.New(t, "sqlite"))
	r := e.relay("-install")
	p := e.tail("trac.*", "other.*")
	client := redis.NewClient(&redis.Options{Addr: e.redis.Addr(), Password: redisPassword})
	defer client.Close()
	require.NoError(t, client.Publish(testkit.Within(t), "trac.my.own.thing", "\x1b[31mpayload").Err())
	testkit.Until(t, "it prints the message", func() bool { return strings.Contains(p.out.String(), `\x1b[31mpayload`) })
	assert.NotContains(t, p.out.String(), "\x1b")
	p.signal(syscall.SIGINT)
	assert.Equal(t, 0, p.code())

	e.ticket("one")
	p = e.start("tail", "-from", "journal", "-since", "0")
	testkit.Until(t, "it prints the change", func() bool { return strings.Contains(p.out.String(), "created") })
	p.signal(syscall.SIGTERM)
	assert.Equal(t, 0, p.code())
	r.signal(syscall.SIGTERM)
	assert.Equal(t, 0, r.code())
}

// What cannot be reached is said, without a password, with code 1; and what is refused by
// Redis is logged while the relay waits.
func TestNothingSecretIsSaid(t *testing.T) {
	e := newEnvironment(t, testdatabase.New(t, "sqlite"))
	for connection, want := range map[string]string{
		"postgres://joe:" + databasePassword[:6] + "-" + redisPassword + "@127.0.0.1:1/trac": "PostgreSQL database trac at 127.0.0.1:1: ",
		"mysql://joe:" + redisPassword + "@127.0.0.1:1/trac":                                 "MySQL database trac at 127.0.0.1:1: ",
		"mysql://joe:" + redisPassword + "@/trac?unix_socket=/nowhere/my.sock":               "MySQL database trac at /nowhere/my.sock: ",
		"postgres://joe:" + redisPassword + "@/trac?host=/nowhere":                           "PostgreSQL database trac at /nowhere: ",
		"sqlite:db/nowhere.db": "nowhere.db: no such file",
	} {
		e.ini(connection, "")
		for _, command := range []string{"relay", "status", "uninstall -yes"} {
			code, printed, said := e.run(strings.Fields(command)...)
			assert.Equal(t, 1, code, "%s: %s", connection, said)
			assert.Empty(t, printed)
			assert.Contains(t, said, want)
		}
	}
	for _, connection := range []string{"postgres://joe:" + redisPassword + "/@h/trac", "oracle://joe:" + redisPassword + "@h/trac"} {
		e.ini(connection, "")
		code, _, said := e.run("relay")
		assert.Equal(t, 2, code)
		assert.Contains(t, said, "trac.ini:2: [trac] database: connection string")
	}

	e.ini(e.connection("trac"), "")
	e.vars = append(e.vars, "TRACBUS_REDIS=redis://:not-"+redisPassword+"@"+e.redis.Addr())
	p := e.relay("-install")
	testkit.Until(t, "the relay says that Redis refuses", func() bool { return strings.Contains(p.said.String(), "WRONGPASS") })
	e.ticket("one")
	testkit.Until(t, "the consumer fails", func() bool {
		st, code := e.status()
		return code == 3 && slices.Contains(st.codes(), "consumer_failing")
	})
	tail := e.start("tail")
	testkit.Until(t, "tail says that Redis refuses", func() bool { return strings.Contains(tail.said.String(), "WRONGPASS") })
	p.signal(syscall.SIGTERM)
	assert.Equal(t, 0, p.code(), "what is not published is not lost")
}

// The SQL that schema prints makes what a relay needs.
func TestSchema(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		e := newEnvironment(t, s)
		code, printed, _ := e.run("schema", "-json")
		require.Equal(t, 0, code)
		all := lines(t, printed)[0]
		assert.Equal(t, s.Dialect, all["dialect"])
		for _, statement := range all["statements"].([]any) {
			e.exec(statement.(string))
		}
		p := e.relay()
		heard := e.listen()
		e.ticket("one")
		heard.created("one")
		p.signal(syscall.SIGTERM)
		require.Equal(t, 0, p.code())

		_, printed, _ = e.run("schema", "-json", "-part", "uninstall")
		for _, statement := range lines(t, printed)[0]["statements"].([]any) {
			e.exec(statement.(string))
		}
		e.ticket("two") // no trigger is in the way
		st, _ := e.status()
		assert.Equal(t, []string{"capture_off", "consumer_not_held"}, st.codes())
	})
}

// What schema prints can be given to the database's own client.
func TestSchemaForClients(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		e := newEnvironment(t, s)
		code, text, said := e.run("schema", "-dialect", s.Dialect)
		require.Equal(t, 0, code, said)
		var client *exec.Cmd
		switch {
		case s.Postgres != nil:
			client = exec.Command("psql", "-q", "-1", "-v", "ON_ERROR_STOP=1", s.DSN(e.name))
		case s.MariaDB != nil:
			client = exec.Command("mariadb", "--no-defaults", "-h", "127.0.0.1", "-P", strconv.Itoa(s.MariaDB.Port()), "-u", "root", e.name)
		default:
			e.exec(text) // the driver reads scripts as sqlite3 does
		}
		if client != nil {
			client.Stdin = strings.NewReader(text)
			out, err := client.CombinedOutput()
			require.NoError(t, err, "%s", out)
		}
		p := e.relay()
		heard := e.listen()
		e.ticket("one")
		heard.created("one")
		p.signal(syscall.SIGTERM)
		assert.Equal(t, 0, p.code())
	})
}

// Dead letters of any consumer are listed, shown, redelivered and discarded.
func TestDeadLetters(t *testing.T) {
	e := newEnvironment(t, testdatabase.New(t, "sqlite"))
	r := e.relay("-install")
	r.signal(syscall.SIGTERM)
	require.Equal(t, 0, r.code())

	ctx := testkit.Within(t)
	bus := tracbus.BusConfig{Logger: testkit.Quiet}.NewBus("myenv")
	healthy := make(chan struct{})
	delivered := make(chan tracbus.Event, 10)
	tracbus.On(bus, tracbus.DurableConfig{MaxAttempts: 1}.Durable("mail"), func(_ context.Context, e tracbus.TicketCreated) error {
		select {
		case <-healthy:
			delivered <- e
			return nil
		default:
			return errors.New("refused\x1b[2J")
		}
	})
	j, err := tracbus.OpenJournal(ctx, e.db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite, Capture: trac.Capture{}, Logger: testkit.Quiet})
	require.NoError(t, err)
	go j.Run(context.Background())
	t.Cleanup(func() { assert.NoError(t, errors.Join(j.Close(testkit.Within(t)), bus.Close(testkit.Within(t)))) })
	for i := range 3 {
		e.ticket(fmt.Sprint("ticket ", i+1))
	}
	count := func() int {
		st, _ := e.status("-consumer", "mail")
		for _, c := range st.Consumers {
			if c.Name == "mail" {
				return c.DeadLetters
			}
		}
		return 0
	}
	testkit.Until(t, "three are dead letters", func() bool { return count() == 3 })
	st, code := e.status("-consumer", "mail")
	assert.Equal(t, 3, code)
	assert.Contains(t, st.codes(), "dead_letters")

	code, printed, _ := e.run("dead-letters", "-json")
	assert.Equal(t, 0, code)
	letters := lines(t, printed)
	require.Len(t, letters, 3)
	assert.Equal(t, []any{"mail", "ticket", "1", "refused\x1b[2J"}, []any{letters[0]["consumer"], letters[0]["realm"], letters[0]["id"], letters[0]["error"]})
	name := func(i int) string { return fmt.Sprintf("%v.%v", letters[i]["tid"], letters[i]["seq"]) }

	code, printed, _ = e.run("dead-letters", "show", "-consumer", "mail", name(1))
	assert.Equal(t, 0, code)
	assert.Contains(t, printed, "ticket 2")
	assert.Contains(t, printed, `summary: "ticket 2"`)
	assert.NotContains(t, printed, "\x1b")
	code, printed, _ = e.run("dead-letters", "show", "-consumer", "mail", "-json", name(1))
	assert.Equal(t, 0, code)
	assert.Equal(t, "ticket 2", lines(t, printed)[0]["change"].(map[string]any)["payload"].(map[string]any)["summary"])

	code, printed, said := e.run("dead-letters", "discard", "-consumer", "mail", name(1), "4711.0")
	assert.Equal(t, 1, code, "one is none")
	assert.Equal(t, "1 discarded\n", printed)
	assert.Contains(t, said, `1 of 2 are no dead letters of "mail"`)
	close(healthy)
	code, printed, _ = e.run("dead-letters", "redeliver", "-consumer", "mail", name(0), "-json")
	assert.Equal(t, 0, code)
	assert.Equal(t, "{\"redelivered\":1}\n", printed)
	select {
	case again := <-delivered:
		assert.Equal(t, "ticket 1", again.Resource().String())
	case <-time.After(testkit.Patience):
		t.Fatal("nothing is redelivered")
	}
	code, printed, _ = e.run("dead-letters", "discard", "-consumer", "mail", "-all")
	assert.Equal(t, 0, code)
	assert.Equal(t, "1 discarded\n", printed)
	testkit.Until(t, "none is left", func() bool { return count() == 0 })
}
