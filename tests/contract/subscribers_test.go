package contract

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/docprogram"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// programsOf returns the subscribers of docs/subscribers.md in a language: that of pub/sub,
// and that of the stream, each written to a file of that name.
func programsOf(t *testing.T, language, ending string) (folder string) {
	t.Helper()
	docprogram.NotCached(t)
	found, err := docprogram.FindIn(language, filepath.Join(root, "docs", "subscribers.md"))
	require.NoError(t, err)
	require.Len(t, found, 2)
	folder = t.TempDir()
	for i, name := range []string{"pubsub", "stream"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name+ending), []byte(found[i].Source), 0o600))
	}
	return folder
}

func TestPythonSubscribers(t *testing.T) {
	python := testserver.Python(t)
	folder := programsOf(t, "python", ".py")
	testSubscribers(t, func(name string) []string { return []string{python, filepath.Join(folder, name+".py")} })
}

func TestTypeScriptSubscribers(t *testing.T) {
	node := node(t)
	folder := programsOf(t, "ts", ".ts")
	modules, err := filepath.Abs(filepath.Join(npm, "node_modules"))
	require.NoError(t, err)
	require.NoError(t, os.Symlink(modules, filepath.Join(folder, "node_modules")))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "package.json"), []byte(`{"type":"module"}`), 0o600))
	compile := exec.Command(node, filepath.Join(modules, "typescript", "bin", "tsc"), "--strict", "--noUnusedLocals", "--skipLibCheck",
		"--module", "nodenext", "--target", "es2022", "pubsub.ts", "stream.ts")
	compile.Dir = folder
	output, err := compile.CombinedOutput()
	require.NoError(t, err, "%s", output)
	testSubscribers(t, func(name string) []string { return []string{node, filepath.Join(folder, name+".js")} })
}

// running is a program whose lines a test reads.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout io.ReadCloser
	lines  *bufio.Scanner
	errs   strings.Builder
}

// run starts a program, as a user of Redis who has the documented rights and no others.
func run(t *testing.T, command []string, folder, addr string, rights ...any) *running {
	t.Helper()
	admin := testkit.PatientClient(t, addr)
	setUser := append([]any{"ACL", "SETUSER", "reader", "reset", "on", ">secret"}, rights...)
	require.NoError(t, admin.Do(testkit.Within(t), setUser...).Err())
	r := &running{t: t, cmd: exec.CommandContext(testkit.Within(t), command[0], command[1:]...)}
	r.cmd.Dir, r.cmd.Stderr = folder, &r.errs
	r.cmd.Env = append(os.Environ(), "REDIS_URL=redis://reader:secret@"+addr)
	var err error
	r.stdout, err = r.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, r.cmd.Start())
	r.lines = bufio.NewScanner(r.stdout)
	t.Cleanup(r.kill)
	return r
}

// prints wants these lines next.
func (r *running) prints(want ...string) {
	r.t.Helper()
	for _, w := range want {
		require.True(r.t, r.lines.Scan(), "it ended: %v, %s", r.lines.Err(), &r.errs)
		assert.Equal(r.t, w, r.lines.Text())
	}
}

// kill ends the program at once.
func (r *running) kill() {
	_ = r.cmd.Process.Kill() // it fails if the program has ended
	_, _ = io.Copy(io.Discard, r.stdout)
	_ = r.cmd.Wait()
}

// tracker is what publishes: a journal with a durable publisher.
type tracker struct {
	t         *testing.T
	desk      *desk.Desk
	published *tracbus.Registration
}

func newTracker(t *testing.T, client redis.UniversalClient) *tracker {
	t.Helper()
	publisher := tracbus.NewPublisher(client, tracbus.PublisherConfig{StreamKey: streamKey, Logger: testkit.Quiet})
	t.Cleanup(publisher.Close)
	s := testdatabase.New(t, "sqlite")
	k := &tracker{t: t}
	k.desk = desk.Seat(t, s, s.DSN(s.Name()), desk.Config{
		Before: func(b *tracbus.Bus) { k.published = b.All(tracbus.Durable("redis"), publisher) },
	})
	return k
}

// sets changes the status of ticket 17 several times, and waits until that is published.
func (k *tracker) sets(statuses ...string) {
	k.t.Helper()
	for _, status := range statuses {
		_, err := k.desk.Update(testkit.Within(k.t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			return tx.Record(testkit.Within(k.t), tracbus.TicketChanged{
				Change: tracbus.Change{Env: "myenv"}, ID: 17,
				New: tracbus.Fields{"status": status}, Old: tracbus.Fields{"status": "before"},
			})
		})
		require.NoError(k.t, err)
	}
	require.NoError(k.t, k.published.Wait(testkit.Within(k.t)))
}

func said(status string) string { return "joe set status of ticket 17 to " + status }

const loads = "load the tickets now: "

// testSubscribers runs the programs of docs/subscribers.md against a tracker, and does to
// them what they are written for.
func testSubscribers(t *testing.T, command func(name string) []string) {
	testkit.NoLeaks(t)
	documented, err := docprogram.FindIn("text", filepath.Join(root, "docs", "subscribers.md"))
	require.NoError(t, err)
	require.Len(t, documented, 1)
	assert.Equal(t, loads+"subscribed\n"+said("closed")+"\n", documented[0].Source)

	text, err := os.ReadFile(filepath.Join(root, "docs", "subscribers.md"))
	require.NoError(t, err)
	row := regexp.MustCompile("(?m)^\\| rights of the Redis user \\| `(.*)` \\| `(.*)` \\|$").FindStringSubmatch(string(text))
	require.NotNil(t, row)
	var rights [2][]any
	for i := range rights {
		for rule := range strings.FieldsSeq(row[i+1]) {
			rights[i] = append(rights[i], rule)
		}
	}

	t.Run("pubsub", func(t *testing.T) {
		server := testserver.Redis(t, testserver.RedisOptions{})
		client := testkit.PatientClient(t, server.Addr())
		tracker := newTracker(t, client)
		p := run(t, command("pubsub"), t.TempDir(), server.Addr(), rights[0]...)
		p.prints(loads + "subscribed")
		tracker.sets("closed")
		p.prints(said("closed"))

		require.NoError(t, client.ClientKillByFilter(testkit.Within(t), "TYPE", "pubsub").Err())
		require.True(t, p.lines.Scan(), "it ended: %s", &p.errs)
		assert.Contains(t, p.lines.Text(), loads+"subscribed", "a lost connection")
		tracker.sets("reopened")
		p.prints(said("reopened"))
	})

	t.Run("stream", func(t *testing.T) {
		server := testserver.Redis(t, testserver.RedisOptions{})
		client := testkit.PatientClient(t, server.Addr())
		tracker := newTracker(t, client)
		tracker.sets("before the first start")
		folder := t.TempDir()
		start := func() *running { return run(t, command("stream"), folder, server.Addr(), rights[1]...) }
		p := start()
		p.prints(loads + "this is the first start")
		tracker.sets("closed")
		p.prints(said("closed"))

		// It is killed, and receives what it missed, once.
		place := filepath.Join(folder, "place")
		kept := func() {
			t.Helper()
			last, err := client.XRevRangeN(testkit.Within(t), streamKey, "+", "-", 1).Result()
			require.NoError(t, err)
			testkit.Until(t, "the place after the newest entry is kept", func() bool {
				text, err := os.ReadFile(place)
				return err == nil && strings.Contains(string(text), `"`+last[0].ID+`"`)
			})
		}
		kept()
		p.kill()
		tracker.sets("a", "b")
		p = start()
		p.prints(said("a"), said("b"))
		tracker.sets("c")
		p.prints(said("c"))

		// What it missed is trimmed.
		kept()
		p.kill()
		tracker.sets("d", "e", "f")
		require.NoError(t, client.XTrimMaxLen(testkit.Within(t), streamKey, 1).Err())
		p = start()
		p.prints(loads + "the stream does not have what came next")
		tracker.sets("g")
		p.prints(said("g"))

		// The connection is lost.
		require.NoError(t, client.ClientKillByFilter(testkit.Within(t), "TYPE", "normal", "SKIPME", "yes").Err())
		tracker.sets("h")
		p.prints(said("h"))

		// Another history has another transaction in the place of the last one.
		kept()
		p.kill()
		text, err := os.ReadFile(place)
		require.NoError(t, err)
		mark := regexp.MustCompile(`"mark": ?"\w+"`)
		require.Regexp(t, mark, string(text))
		require.NoError(t, os.WriteFile(place, mark.ReplaceAll(text, []byte(`"mark":"another"`)), 0o600))
		tracker.sets("i")
		p = start()
		p.prints(loads + "the history of the tracker went back")

		// Redis is emptied, and goes on in a new generation.
		require.NoError(t, client.FlushAll(testkit.Within(t)).Err())
		tracker.sets("j")
		p.prints(loads + "the stream does not have what came next")
		tracker.sets("k")
		p.prints(said("k"))
	})
}
