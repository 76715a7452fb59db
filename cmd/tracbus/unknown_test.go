package main_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// Nobody is named who did not do it: a page's version has an author, but who deleted it, or
// made it read-only, stands nowhere in Trac's tables. A message from Redis has as little.
func TestNobodyIsNamedInstead(t *testing.T) {
	e := newEnvironment(t, testdatabase.New(t, "sqlite"))
	e.relay("-install")
	heard := e.tail("-n", "1", "trac.*.version_deleted.*")
	for _, statement := range []string{
		"INSERT INTO wiki (name, version, time, author, text, comment, readonly) VALUES ('Start', 1, 1, 'alice', 'a', '', 0)",
		"INSERT INTO wiki (name, version, time, author, text, comment, readonly) VALUES ('Start', 2, 2, 'bob', 'b', '', 0)",
		"UPDATE wiki SET readonly = 1 WHERE name = 'Start'",
		"DELETE FROM wiki WHERE name = 'Start' AND version = 2",
	} {
		e.exec(statement)
	}
	var text string
	testkit.Until(t, "the journal has all changes", func() bool {
		_, text, _ = e.run("history", "wiki", "Start")
		return strings.Contains(text, "version_deleted")
	})
	assert.Contains(t, text, "created  by alice\n")
	assert.Contains(t, text, "changed  by bob\n")
	assert.Contains(t, text, "changed\n    version 2")
	assert.Contains(t, text, "version_deleted\n")
	_, printed, _ := e.run("history", "-json", "wiki", "Start")
	var authors []any
	for _, l := range lines(t, printed) {
		authors = append(authors, l["author"])
	}
	assert.Equal(t, []any{"alice", "bob", nil, nil}, authors)

	message := tracbus.WikiPageVersionDeleted{Change: tracbus.Change{Env: "myenv"}, Page: tracbus.WikiPage{Name: "Start", Version: 2, Author: "bob"}}
	channel, payload, err := tracbus.PublisherConfig{}.Encode(message)
	require.NoError(t, err)
	client := redis.NewClient(&redis.Options{Addr: e.redis.Addr(), Password: redisPassword})
	defer client.Close()
	require.NoError(t, client.Publish(testkit.Within(t), channel, payload).Err())
	assert.Equal(t, 0, heard.code())
	assert.Contains(t, heard.out.String(), "version_deleted\n")

	code, printed, said := e.run("history", "wiki", "Stop\x1b")
	assert.Equal(t, 0, code)
	assert.Empty(t, printed)
	assert.Equal(t, "tracbus: the journal has no change of \"wiki Stop\\x1b\"\n", said)
}

// A script that installs goes on with code 0 only if all is done.
func TestOnceThatIsToldToEnd(t *testing.T) {
	e := newEnvironment(t, testdatabase.New(t, "sqlite"))
	p := e.relay("-install")
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.code())
	e.ticket("waits")
	e.vars = append(e.vars, "TRACBUS_REDIS=redis://:not-"+redisPassword+"@"+e.redis.Addr())
	p = e.relay("-once")
	p.signal(syscall.SIGTERM)
	assert.Equal(t, 1, p.code())
	assert.Contains(t, p.said.String(), "told to end before all is published")
}

// Triggers go although there is no journal any more, as when somebody has dropped its tables.
func TestUninstallWithoutAJournal(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		e := newEnvironment(t, s)
		p := e.relay("-install")
		p.signal(syscall.SIGTERM)
		require.Equal(t, 0, p.code())
		e.exec("DROP TABLE journal_dead_letter")
		e.ticket("waits")
		code, _, said := e.run("uninstall", "-yes")
		assert.Equal(t, 1, code)
		assert.Contains(t, said, "there is no journal to take that in")
		e.exec("DELETE FROM journal_inbox")
		e.ticket("not captured")
		code, printed, said := e.run("uninstall", "-yes")
		assert.Equal(t, 0, code, said)
		assert.Equal(t, "the triggers are dropped\n", printed)
		e.ticket("another")
	})
}

// On MySQL, who lacks the right TRIGGER sees no triggers. Then the tables that they fill stay:
// Trac could not save without.
func TestUninstallByWhoSeesNoTriggers(t *testing.T) {
	e := newEnvironment(t, testdatabase.New(t, "mysql"))
	p := e.relay("-install")
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.code())
	e.exec("CREATE USER reader IDENTIFIED BY '" + databasePassword + "'")
	e.exec("GRANT SELECT, EXECUTE ON " + e.name + ".* TO reader")
	for _, table := range []string{"journal_inbox", "journal_capture", "journal_own", "journal_consumer", "journal_change", "journal_decided", "journal_lock"} {
		e.exec("GRANT ALL ON " + e.name + "." + table + " TO reader")
	}
	e.vars = append(e.vars, "TRACBUS_DATABASE="+e.connection("reader"))
	code, printed, said := e.run("uninstall", "-yes")
	assert.Equal(t, 1, code)
	assert.Empty(t, printed)
	assert.Contains(t, said, "TRIGGER command denied")
	e.ticket("Trac saves")

	e.exec("GRANT INSERT ON " + e.name + ".ticket TO reader") // then it sees that there are some
	st, _ := e.status("-consumer", "")
	assert.Contains(t, st.codes(), "capture_off")
	assert.Contains(t, st.Problems[0].What, "cannot be read without the right TRIGGER")
}
