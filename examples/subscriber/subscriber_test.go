package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testserver"
)

var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "subscriber")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "subscriber.exe")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// running is a started program. A test reads what it prints line by line.
type running struct {
	t       *testing.T
	cmd     *exec.Cmd
	printed *bufio.Reader
	said    *bufio.Reader
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	printed, err := cmd.StdoutPipe()
	require.NoError(t, err)
	said, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	return &running{t, cmd, bufio.NewReaderSize(printed, 1<<20), bufio.NewReader(said)}
}

func (r *running) line(from *bufio.Reader) string {
	r.t.Helper()
	line, err := from.ReadString('\n')
	require.NoError(r.t, err, "after %q", line)
	return strings.TrimSuffix(line, "\n")
}

// end sends a signal and returns what else was printed and said.
func (r *running) end(signal os.Signal) (printed, said string) {
	r.t.Helper()
	require.NoError(r.t, r.cmd.Process.Signal(signal))
	out, err := io.ReadAll(r.printed)
	require.NoError(r.t, err)
	errs, err := io.ReadAll(r.said)
	require.NoError(r.t, err)
	require.NoError(r.t, r.cmd.Wait(), "%s", errs)
	return string(out), string(errs)
}

func client(t *testing.T, options *redis.Options) *redis.Client {
	c := redis.NewClient(options)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func publish(t *testing.T, c *redis.Client, channel, payload string) {
	t.Helper()
	require.NoError(t, c.Publish(t.Context(), channel, payload).Err())
}

// TestEveryRecordedMessageIsOneLineOfJSON holds the channel byte for byte and
// the payload as JSON.
func TestEveryRecordedMessageIsOneLineOfJSON(t *testing.T) {
	server := testserver.Redis(t, testserver.RedisOptions{})
	c := client(t, &redis.Options{Addr: server.Addr()})
	r := start(t, "-json", "-redis", "redis://"+server.Addr(), "*")
	require.Equal(t, `subscriber: subscribed to ["*"]`, r.line(r.said))

	f, err := os.Open("../../testdata/vectors.jsonl")
	require.NoError(t, err)
	defer f.Close()
	vectors := bufio.NewScanner(f)
	vectors.Buffer(nil, 64<<20)
	for vectors.Scan() {
		var v struct {
			ID      string
			Channel string
			Data    string `json:"data_raw"`
		}
		require.NoError(t, json.Unmarshal(vectors.Bytes(), &v))
		publish(t, c, v.Channel, v.Data)
		var got struct {
			Channel string
			Payload json.RawMessage
		}
		line := r.line(r.printed)
		require.NoError(t, json.Unmarshal([]byte(line), &got), "%s: %s", v.ID, line)
		assert.Equal(t, v.Channel, got.Channel, v.ID)
		want := strings.Replace(v.Data, `"readonly": true`, `"readonly": 1`, 1) // as Trac's database has it
		if json.Valid([]byte(want)) {
			assert.JSONEq(t, want, string(got.Payload), v.ID)
		}
	}
	require.NoError(t, vectors.Err())
	printed, said := r.end(os.Interrupt)
	assert.Empty(t, printed)
	assert.Empty(t, said)
}

func TestWhatIsNoEventIsALineToo(t *testing.T) {
	server := testserver.Redis(t, testserver.RedisOptions{})
	c := client(t, &redis.Options{Addr: server.Addr()})
	r := start(t, "-json", "-redis", "redis://"+server.Addr(), "*")
	r.line(r.said)
	for _, test := range []struct{ channel, payload, want string }{
		{"news", "hello", `{"channel":"news","payload":"hello","error":"message on channel \"news\": not a channel of tickets, pages or plain resources"}`},
		{"news", `{"a": "<b>"}`, `{"channel":"news","payload":{"a":"<b>"},"error":"message on channel \"news\": not a channel of tickets, pages or plain resources"}`},
		{"news", "\"\xff\"", `{"channel":"news","payload":"\"\ufffd\"","error":"message on channel \"news\": not a channel of tickets, pages or plain resources"}`},
	} {
		publish(t, c, test.channel, test.payload)
		assert.Equal(t, test.want, r.line(r.printed))
	}
	publish(t, c, "t.ticket.created", "{}\n{}")
	var got struct{ Channel, Payload, Error string }
	require.NoError(t, json.Unmarshal([]byte(r.line(r.printed)), &got))
	assert.Equal(t, "t.ticket.created", got.Channel)
	assert.Equal(t, "{}\n{}", got.Payload)
	assert.Contains(t, got.Error, "not a payload of this channel")
}

func TestTextForPeople(t *testing.T) {
	server := testserver.Redis(t, testserver.RedisOptions{})
	c := client(t, &redis.Options{Addr: server.Addr()})
	r := start(t, "-redis", "redis://"+server.Addr())
	require.Equal(t, `subscriber: subscribed to ["trac.*"]`, r.line(r.said))

	publish(t, c, "trac.test.ticket.changed.1", `{"new_values": {"milestone": "milestone1"}, "old_values": {"milestone": ""},
		"author": "anonymous", "comment": "Updated milestone.", "id": 1}`)
	publish(t, c, "trac.test.ticket.deleted", `{"id": 1, "cc": "", "summary": "Test ticket", "votes": 3}`)
	publish(t, c, "trac.test.wiki.changed.Evil\x1b[2J", `{"name": "Evil\u001b[2J", "version": 2, "time": "2020-01-02T03:04:05+00:00",
		"author": "\u001b[31mjoe", "text": "new\r\ntext", "comment": "", "readonly": 1, "old_text": "old"}`)
	publish(t, c, "trac.test.nothing", "\x1b[2J")
	want := `trac.test  ticket 1  changed  by anonymous  "Updated milestone."
    milestone: "" → "milestone1"
trac.test  ticket 1  deleted
    summary: "Test ticket"
    votes: 3
trac.test  "wiki Evil\x1b[2J"  changed  by "\x1b[31mjoe"
    version 2 of 2020-01-02 03:04:05, read-only
    text: "new\r\ntext"
    text before: "old"
message on channel "trac.test.nothing": not a channel of tickets, pages or plain resources
    "\x1b[2J"
`
	var got strings.Builder
	for range strings.Count(want, "\n") {
		got.WriteString(r.line(r.printed) + "\n")
	}
	assert.Equal(t, want, got.String(), "a pipe gets no colours, and nobody's page commands a terminal")
	printed, said := r.end(syscall.SIGTERM)
	assert.Empty(t, printed+said)
}

// Nothing that Redis, a publisher, a trac.ini or the command line says reaches the
// terminal as it is, in whatever form.
func TestNothingCommandsATerminal(t *testing.T) {
	harmless := func(line string) {
		t.Helper()
		for _, r := range line {
			assert.True(t, unicode.IsPrint(r), "%q in %q", r, line)
		}
	}
	server := testserver.Redis(t, testserver.RedisOptions{})
	c := client(t, &redis.Options{Addr: server.Addr()})
	const hostile = "\x1b]0;title\a\u009b31m\u202e\x7f\u200b"
	dir := t.TempDir()
	host, port, err := net.SplitHostPort(server.Addr())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "trac.ini"), []byte("[redis_client]\nhost = "+host+"\nport = "+port+"\no"+hostile+" = 1\n"), 0o600))
	for _, form := range [][]string{{"-json"}, {}} {
		r := start(t, append(form, "-trac-ini", filepath.Join(dir, "trac.ini"), "*")...)
		warned := r.line(r.said)
		assert.Contains(t, warned, "is not an option here")
		harmless(warned)
		harmless(r.line(r.said))
		for _, m := range [][2]string{
			{"trac.a.wiki.created", `{"pagename": "x", "text": "` + strings.ReplaceAll(hostile, "\x1b]0;title\a", `\u001b`) + `"}`},
			{"trac." + hostile + ".wiki.created", hostile}, {hostile, `"` + hostile + `"`},
			{"trac.a.wiki." + hostile, "{}"}, {"trac.a.wiki.changed", "\xff" + hostile},
		} {
			publish(t, c, m[0], m[1])
			harmless(r.line(r.printed))
			if len(form) == 0 {
				harmless(r.line(r.printed)) // of an error, the payload
			}
		}
		printed, said := r.end(os.Interrupt)
		for line := range strings.SplitSeq(printed+said, "\n") {
			harmless(line)
		}
	}

	liar, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer liar.Close()
	go func() {
		for {
			conn, err := liar.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, strings.Repeat("-ERR no "+hostile+"\r\n", 20))
			_ = conn.Close()
		}
	}()
	r := start(t, "-redis", "redis://"+liar.Addr().String())
	said := r.line(r.said)
	assert.Contains(t, said, "trying again")
	harmless(said)
	for _, args := range [][]string{{"-" + hostile}, {"-redis", "redis:" + hostile}, {"-since", hostile}, {"-trac-ini", hostile}} {
		out, err := exec.Command(program, args...).CombinedOutput()
		assert.Error(t, err, "%q", args)
		harmless(strings.TrimSuffix(string(out), "\n"))
	}
}

func TestColoursAreForTerminals(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	defer file.Close()
	assert.False(t, colourful(file))
	terminal, err := os.Open("/dev/ptmx")
	if err != nil {
		if os.Getenv("TRACBUS_REQUIRE_SERVERS") != "" {
			t.Fatal("there are no terminals here: ", err)
		}
		t.Skip("there are no terminals here")
	}
	defer terminal.Close()
	assert.True(t, colourful(terminal))
	t.Setenv("TERM", "dumb")
	assert.False(t, colourful(terminal))
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	assert.False(t, colourful(terminal))

	var out bytes.Buffer
	event, err := tracbus.Decode("", "test.ticket.deleted", `{"id":1}`)
	require.NoError(t, showText(&out, true)(tracbus.StreamEntry{Event: event}, err))
	assert.Equal(t, "\x1b[2mtest\x1b[0m  \x1b[1mticket 1\x1b[0m  \x1b[31mdeleted\x1b[0m\n", out.String())
}

func TestATracIniSaysWhereAndWhat(t *testing.T) {
	server := testserver.Redis(t, testserver.RedisOptions{Password: "s3cret"})
	c := client(t, &redis.Options{Addr: server.Addr(), Password: "s3cret"})
	ini := filepath.Join(t.TempDir(), "trac.ini")
	require.NoError(t, os.WriteFile(ini, fmt.Appendf(nil,
		"[redis_client]\nhost = 127.0.0.1\nport = %d\npassword = s3cret\n[redispub]\nchannel_prefix = my[*]\n", server.Port()), 0o600))
	r := start(t, "-json", "-trac-ini", ini)
	require.Equal(t, `subscriber: subscribed to ["my\\[\\*].*"]`, r.line(r.said))
	publish(t, c, "mya.test.ticket.created", `{"id":1}`)
	publish(t, c, "my[*].test.ticket.created", `{"id":2}`)
	assert.Equal(t, `{"channel":"my[*].test.ticket.created","payload":{"id":2}}`, r.line(r.printed))
	printed, said := r.end(os.Interrupt)
	assert.Empty(t, printed+said)
}

// TestAStreamIsReadOn from where an earlier run ended, and says what is missing.
func TestAStreamIsReadOn(t *testing.T) {
	server := testserver.Redis(t, testserver.RedisOptions{})
	c := client(t, &redis.Options{Addr: server.Addr()})
	before := "0-0"
	add := func(id, payload string) {
		require.NoError(t, c.XAdd(t.Context(), &redis.XAddArgs{Stream: "changes", ID: id, Values: []any{
			"channel", "trac.test.ticket.created", "payload", payload, "mark", "m", "time", "1", "author", "joe", "ipnr", "::1",
			"authenticated", "1", "comment", "", "before", before, "at", "1",
		}}).Err())
		before = id
	}
	for _, id := range []string{"1-0", "2-0", "2-1", "4-0"} {
		add(id, `{"id":7}`)
	}
	require.NoError(t, c.XTrimMinID(t.Context(), "changes", "2-0").Err())

	all := start(t, "-json", "-redis", "redis://"+server.Addr(), "-stream", "changes", "-since", "0")
	assert.Equal(t, `subscriber: reading "changes" from 0`, all.line(all.said))
	assert.Equal(t, `{"id":"2-0","channel":"trac.test.ticket.created","payload":{"id":7}}`, all.line(all.printed))
	all.end(os.Interrupt)

	r := start(t, "-redis", "redis://"+server.Addr(), "-stream", "changes", "-since", "2-0")
	assert.Equal(t, "2-1  trac.test  ticket 7  created  by joe", r.line(r.printed))
	assert.Equal(t, "4-0  trac.test  ticket 7  created  by joe", r.line(r.printed))
	add("5-0", "\x1b")
	assert.Regexp(t, `^5-0  message on channel "trac.test.ticket.created": entry 5-0: not a payload`, r.line(r.printed))
	assert.Equal(t, `    "\x1b"`, r.line(r.printed))
	require.NoError(t, c.XTrimMaxLen(t.Context(), "changes", 0).Err())
	before = "7-0"
	add("8-0", `{"id":8}`)
	assert.Equal(t, `subscriber: changes after tid 5 up to 7 are missed: the stream does not keep them`, r.line(r.said))
	assert.Equal(t, "8-0  trac.test  ticket 8  created  by joe", r.line(r.printed))
	printed, said := r.end(os.Interrupt)
	assert.Empty(t, printed+said)

	now := start(t, "-redis", "redis://"+server.Addr(), "-stream", "changes")
	assert.Equal(t, `subscriber: reading "changes" from 8-0`, now.line(now.said))
	before = "0-0"
	add("281474976710657-0", `{"id":1}`)
	assert.Equal(t, `subscriber: the stream began again; what came after tid 8 may be missed or come again`, now.line(now.said))
	assert.Equal(t, "281474976710657-0  trac.test  ticket 1  created  by joe", now.line(now.printed))
	printed, said = now.end(os.Interrupt)
	assert.Empty(t, printed+said)
}

// TestADeadServerIsWaitedFor begins without a server, and then loses it.
func TestADeadServerIsWaitedFor(t *testing.T) {
	server := testserver.Redis(t, testserver.RedisOptions{Password: "s3cret"})
	server.Kill()
	r := start(t, "-json", "-redis", "redis://:s3cret@"+server.Addr())
	assert.Regexp(t, `^subscriber: subscribe: not connected to Redis: .*; trying again$`, r.line(r.said))
	server.Restart()
	assert.Equal(t, `subscriber: subscribed to ["trac.*"]`, r.line(r.said))
	server.Kill()
	assert.Regexp(t, `^subscriber: subscribe: not connected to Redis: .*; trying again$`, r.line(r.said))
	server.Restart()
	assert.Equal(t, `subscriber: subscribed to ["trac.*"] again; what was published meanwhile is missed`, r.line(r.said))
	server.Kill()
	assert.Regexp(t, `not connected`, r.line(r.said))
	printed, said := r.end(os.Interrupt)
	assert.Empty(t, printed+said)
}

func TestAWrongPasswordIsNotPrinted(t *testing.T) {
	server := testserver.Redis(t, testserver.RedisOptions{Password: "s3cret"})
	r := start(t, "-redis", "redis://joe:hunter2@"+server.Addr())
	line := r.line(r.said)
	assert.Contains(t, line, "WRONGPASS")
	assert.NotContains(t, line, "hunter2")
	printed, said := r.end(os.Interrupt)
	assert.Empty(t, printed+said)
	o := options{}
	o.redis.Password.UnmarshalText([]byte("hunter2"))
	assert.Equal(t, "ERR AUTH [secret]", o.withoutSecrets("ERR AUTH hunter2"))
}

// TestWhatCannotWorkIsOneLine never holds a password.
func TestWhatCannotWorkIsOneLine(t *testing.T) {
	ini := filepath.Join(t.TempDir(), "trac.ini")
	require.NoError(t, os.WriteFile(ini, []byte("[redis_client]\nurl = redis://:hunter2@host:port:port\n"), 0o600))
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-redis", "redis://:hunter2@host:99999999"}, 2, "-redis: want"},
		{[]string{"-redis", "redis://:hunter2/@host"}, 2, "-redis: want"},
		{[]string{"-redis", "hunter2@host"}, 2, "-redis: want"},
		{[]string{"-redis", ""}, 2, "-redis: want"},
		{[]string{"-redis"}, 2, "needs an argument"},
		{[]string{"-redsi", "redis://:hunter2@host"}, 2, "-redsi"},
		{[]string{"-json=redis://:hunter2@host"}, 2, "not known"},
		{[]string{"-=redis://:hunter2@host"}, 2, "not known"},
		{[]string{"-redis", "redis://:hunter2@host", "-trac-ini", ini}, 2, "exclude each other"},
		{[]string{"-stream", ""}, 2, "-stream: want a key"},
		{[]string{"-since", "0"}, 2, "-stream: want a key"},
		{[]string{"-stream", "s", "trac.*"}, 2, "exclude each other"},
		{[]string{"-stream", "s", "-since", "1-"}, 2, "-since: want"},
		{[]string{"-stream", "s", "-since", "x"}, 2, "-since: want"},
		{[]string{"-trac-ini", ini}, 1, ini + ":2: [redis_client] url: want"},
		{[]string{"-trac-ini", ini + ".not"}, 1, ini + ".not"},
	} {
		var printed, said bytes.Buffer
		cmd := exec.Command(program, test.args...)
		cmd.Stdout, cmd.Stderr = &printed, &said
		_ = cmd.Run() // its code says it
		assert.Equal(t, test.code, cmd.ProcessState.ExitCode(), "%q", test.args)
		assert.Contains(t, said.String(), test.want, "%q", test.args)
		assert.NotContains(t, said.String(), "hunter2", "%q", test.args)
		assert.Equal(t, 1, strings.Count(said.String(), "\n"), "%q: %s", test.args, said.String())
		assert.Empty(t, printed.String())
	}
	out, err := exec.Command(program, "-help").Output()
	require.NoError(t, err)
	assert.Equal(t, usage, string(out))
}

// TestASilentServerDoesNotHoldAnInterrupt connects to what never answers.
func TestASilentServerDoesNotHoldAnInterrupt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	r := start(t, "-redis", "redis://"+l.Addr().String())
	conn, err := l.Accept()
	require.NoError(t, err)
	defer conn.Close()
	began := time.Now()
	printed, said := r.end(os.Interrupt)
	assert.Empty(t, printed)
	assert.NotContains(t, said, "subscribed")
	assert.Less(t, time.Since(began), 4*time.Second)
}
