package store_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// stepEnv has this program be a process that makes the step, and stands still in the midst
// of it, until it is killed.
const stepEnv = "TRACBUS_STEP_PROCESS"

// a stepping is such a process.
type stepping struct {
	Dialect, Driver, DSN string
	At                   int64 // of its statements, that before which it stands still
}

// run makes the step. It says a line when it stands still, and another if it got to the end.
func (s stepping) run(t *testing.T) {
	var statements atomic.Int64
	server := &testdatabase.Server{Dialect: s.Dialect, Driver: s.Driver}
	db := server.Hooked(t, s.DSN, func(ctx context.Context, _ string) error {
		if statements.Add(1) == s.At {
			fmt.Println("stands still")
			select {} // whatever becomes of ctx
		}
		return nil
	})
	_, err := store.Open(t.Context(), db, store.Config{Dialect: s.Dialect, Realms: oldRealms})
	require.NoError(t, err)
	fmt.Println("is at the end")
}

// killed runs it in a process of its own, up to where it stands still, and kills it there with
// SIGKILL. It reports false if the step was finished before.
func (s stepping) killed(t *testing.T, test string) bool {
	t.Helper()
	as, err := json.Marshal(s)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), stepEnv+"="+string(as))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Kill())
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	require.Contains(t, []string{"stands still\n", "is at the end\n"}, said)
	return said == "stands still\n"
}

// stepProcess is for a test that starts processes: it says whether it is one of them, and has
// been it.
func stepProcess(t *testing.T) bool {
	as := os.Getenv(stepEnv)
	if as == "" {
		return false
	}
	var s stepping
	require.NoError(t, json.Unmarshal([]byte(as), &s))
	s.run(t)
	return true
}

// TestUpgradeKilled kills real processes in the midst of the step, each where the one before
// got no further: also while a transaction of its own is open, which its connection takes back.
// Another one finishes it.
func TestUpgradeKilled(t *testing.T) {
	if stepProcess(t) {
		return
	}
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		const transactions = 2200
		dsn := s.DSN(s.Name())
		o := versionTwo(t, s.Open(t, dsn), s.Dialect, 2)
		o.inOne(func(o old) { o.fill(transactions) })
		o.consume()
		deaths := 0
		for at := int64(7); (stepping{s.Dialect, s.Driver, dsn, at}).killed(t, "TestUpgradeKilled"); at += 9 {
			deaths++
		}
		t.Logf("%d deaths", deaths)
		assert.Greater(t, deaths, 2)
		st := o.opened(store.Config{Dialect: s.Dialect, Realms: oldRealms})
		o.check(st, transactions)
		o.checkConsumer(st)
	})
}

// TestUpgradeWaits: who opens a journal while another process makes the step waits for it, no
// longer than it may, and says for what.
func TestUpgradeWaits(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		dsn := s.DSN(s.Name())
		o := versionTwo(t, s.Open(t, dsn), s.Dialect, 2)
		o.fill(7)
		config := store.Config{Dialect: s.Dialect, Realms: oldRealms}
		inside, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		making := s.Hooked(t, dsn, func(_ context.Context, query string) error {
			if strings.Contains(query, "INSERT INTO") && strings.Contains(query, "_journal_2") {
				once.Do(func() { close(inside); <-goOn })
			}
			return nil
		})
		var made sync.WaitGroup
		made.Go(func() {
			_, err := store.Open(t.Context(), making, config)
			assert.NoError(t, err)
		})
		<-inside
		bounded := store.WithLimits(t.Context(), store.Limits{Lock: time.Second, Writer: time.Second})
		_, err := store.Open(bounded, s.Open(t, strings.Replace(dsn, "busy_timeout(10000)", "busy_timeout(100)", 1)), config)
		waits := "wait for other processes that make them"
		if s.Dialect == "sqlite" {
			waits = "another transaction is writing"
		}
		assert.ErrorContains(t, err, "create the tables of the journal: "+waits)
		t.Log(err)
		var waited sync.WaitGroup
		waited.Go(func() {
			_, err := store.Open(t.Context(), s.Open(t, dsn), config)
			assert.NoError(t, err)
		})
		close(goOn)
		made.Wait()
		waited.Wait()
		o.check(o.opened(config), 7)
	})
}

// TestUpgradeMany makes the step of a journal with many changes: 20,000, or as many as
// TRACBUS_STEP says. It is interrupted by a SIGKILL half way, and finished by two processes
// at once; the time is of both together.
func TestUpgradeMany(t *testing.T) {
	if stepProcess(t) {
		return
	}
	changes := 20_000
	if many := os.Getenv("TRACBUS_STEP"); many != "" {
		var err error
		changes, err = strconv.Atoi(many)
		require.NoError(t, err)
	}
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		dsn := s.DSN(s.Name())
		o := versionTwo(t, s.Open(t, dsn), s.Dialect, 2)
		o.multiply(changes)
		began := time.Now()
		half := stepping{s.Dialect, s.Driver, dsn, 100 + int64(changes)/1000*map[string]int64{"sqlite": 8, "postgresql": 8, "mysql": 9}[s.Dialect]}
		require.True(t, half.killed(t, "TestUpgradeMany"))
		copied, left := one[int](t, o.DB, "SELECT count(*) FROM journal_change"), one[int](t, o.DB, "SELECT count(*) FROM journal_transaction_2")
		var opened sync.WaitGroup
		for range 2 {
			opened.Go(func() {
				_, err := store.Open(t.Context(), s.Open(t, dsn), store.Config{Dialect: s.Dialect, Realms: oldRealms})
				assert.NoError(t, err)
			})
		}
		opened.Wait()
		t.Logf("%s: %d changes of version 2 in %v, of which %d before a SIGKILL", s.Dialect, changes, time.Since(began).Round(time.Millisecond), copied)
		assert.Less(t, copied, changes)
		assert.Equal(t, changes, left)
		st := o.opened(store.Config{Dialect: s.Dialect, Realms: oldRealms})
		end, err := st.End(t.Context(), o.DB)
		require.NoError(t, err)
		assert.Equal(t, store.Place{TID: int64(changes), CommitID: o.mark(changes)}, end)
		assert.Equal(t, changes, one[int](t, o.DB, "SELECT count(*) FROM ticket_journal"))
		assert.Equal(t, 2*changes, one[int](t, o.DB, "SELECT count(*) FROM ticket_history"))
	})
}

// multiply writes changes of a ticket, of two fields and with fifteen, as version 2 did.
func (o old) multiply(n int) {
	o.t.Helper()
	const state = `{"summary":"The pages of the manual do not print","reporter":"jane","type":"defect","priority":"major","milestone":"milestone2","component":"manual","version":"1.0","keywords":"print css","cc":"jane@example.org","time":{"time":1577934245000006},"changetime":{"time":1577934245000006},"description":"It is empty. It is empty. It is empty. It is empty. It is empty. It is empty. It is empty. It is empty. ","owner":"joe"}`
	const step = 50_000
	for first := 1; first <= n; first += step {
		last := min(first+step-1, n)
		numbers := map[string]string{
			"sqlite":     fmt.Sprintf("(WITH RECURSIVE s(n) AS (SELECT %d UNION ALL SELECT n + 1 FROM s WHERE n < %d) SELECT n FROM s) s", first, last),
			"postgresql": fmt.Sprintf("generate_series(%d, %d) AS s(n)", first, last),
			"mysql":      fmt.Sprintf("(SELECT seq AS n FROM seq_%d_to_%d) s", first, last),
		}[o.dialect]
		mark := map[string]string{"sqlite": "'mark' || n", "postgresql": "'mark' || n", "mysql": "concat('mark', n)"}[o.dialect]
		text := map[string]string{"sqlite": "CAST(n % 5000 AS TEXT)", "postgresql": "(n % 5000)::text", "mysql": "CAST(n % 5000 AS CHAR)"}[o.dialect]
		o.inOne(func(o old) {
			o.exec("INSERT INTO journal_transaction (tid, mark, origin, realms) SELECT n, " + mark + ", 'o', 'ticket' FROM " + numbers)
			o.exec(`INSERT INTO ticket_journal (tid, seq, id, "change", time, author, ipnr, authenticated, comment, parts, state) SELECT n, 0, `+text+`, 'changed', 1700000000000000 + n, 'joe', '::1', 1, 'Why so.', 0, ? FROM `+numbers, state)
			for _, field := range []string{"status", "resolution"} {
				o.exec(`INSERT INTO ticket_history (tid, seq, id, field, old_type, old_value, new_type, new_value) SELECT n, 0, ` + text + `, '` + field + `', 'text', 'new', 'text', 'fixed' FROM ` + numbers)
			}
		})
	}
	switch o.dialect {
	case "mysql":
		o.exec(fmt.Sprintf("UPDATE journal_head SET tid = %d", n))
	case "postgresql":
		o.exec(fmt.Sprintf("SELECT setval('journal_tid', %d)", n))
	}
}
