package pipeline

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
)

// script is a Redis that answers PUBLISH as a test wants, and keeps what it was
// asked.
type script struct {
	listener net.Listener
	running  sync.WaitGroup
	kill     string // what CLIENT KILL is answered

	mu     sync.Mutex
	answer func(payload string) string // "" closes the connection
	asked  []string                    // "1 publish a": connection, command, last argument
	conns  []net.Conn
}

func newScript(t *testing.T, answer func(payload string) string) (*script, *redis.Client) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{listener: l, answer: answer, kill: ":1"}
	s.running.Go(func() {
		for id := 1; ; id++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
			s.running.Go(func() { s.serve(conn, id) })
		}
	})
	client := redis.NewClient(&redis.Options{Addr: l.Addr().String()}) // repeats commands, as is the default
	t.Cleanup(func() {
		_ = client.Close()
		_ = l.Close()
		s.running.Wait()
	})
	return s, client
}

func (s *script) serve(conn net.Conn, id int) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		args, err := command(in)
		if err != nil {
			return
		}
		answer := s.answerTo(args, id)
		if answer == "" {
			return
		}
		if _, err := io.WriteString(conn, answer+"\r\n"); err != nil {
			return
		}
	}
}

func (s *script) answerTo(args []string, id int) string {
	name := strings.ToLower(args[0])
	if name == "client" {
		name += " " + strings.ToLower(args[1])
	}
	switch name {
	case "hello":
		if len(args) == 1 {
			return "*4\r\n$2\r\nid\r\n:" + strconv.Itoa(id) + "\r\n$4\r\nrole\r\n$6\r\nmaster"
		}
	case "info":
		return "$12\r\nrun_id:one\r\n"
	case "publish", "client kill":
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, fmt.Sprint(id, " ", name, " ", args[len(args)-1]))
		if name == "publish" {
			return s.answer(args[2])
		}
		return s.kill
	}
	return "-ERR unknown command"
}

// command reads an array of strings.
func command(in *bufio.Reader) (args []string, err error) {
	var n int
	if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	for range n {
		var size int
		if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, err
		}
		args = append(args, string(b[:size]))
	}
	return args, nil
}

func messages(payloads ...string) (m []Message) {
	for _, p := range payloads {
		m = append(m, Message{[]byte("channel"), []byte(p)})
	}
	return m
}

func (s *script) wantAsked(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.asked, want) {
		t.Errorf("asked\n got %q\nwant %q", s.asked, want)
	}
}

func wantOutcome(t *testing.T, got Outcome, replies string, unknown bool, err string) {
	t.Helper()
	var r []string
	for _, reply := range got.Replies {
		if r = append(r, strconv.FormatInt(reply.Receivers, 10)); reply.Err != nil {
			r[len(r)-1] = "refused"
		}
	}
	if s := strings.Join(r, " "); s != replies || got.Unknown != unknown || (got.Err == nil) != (err == "") || got.Err != nil && !strings.Contains(got.Err.Error(), err) {
		t.Errorf("outcome\n got replies %q, unknown %v, %v\nwant replies %q, unknown %v, %s", s, got.Unknown, got.Err, replies, unknown, err)
	}
}

func TestAMessageThatIsForbiddenIsAnswered(t *testing.T) {
	s, client := newScript(t, func(p string) string { return map[string]string{"a": ":2", "b": "-NOPERM no", "c": ":0"}[p] })
	sender := New(client)
	defer sender.Close()
	wantOutcome(t, sender.Send(context.Background(), messages("a", "b", "c")), "2 refused 0", false, "")
	s.wantAsked(t, "1 publish a", "1 publish b", "1 publish c")
}

// What was answered stays answered, and what was not is sent again only after
// the connection that carried it was killed.
func TestABreakKeepsWhatWasAnswered(t *testing.T) {
	broken := false
	s, client := newScript(t, func(p string) string {
		if p == "c" && !broken {
			broken = true
			return ""
		}
		return ":1"
	})
	sender := New(client)
	defer sender.Close()
	wantOutcome(t, sender.Send(context.Background(), messages("a", "b", "c", "d")), "1 1", true, "EOF")
	wantOutcome(t, sender.Send(context.Background(), messages("c", "d")), "1 1", false, "")
	s.wantAsked(t, "1 publish a", "1 publish b", "1 publish c", "2 client kill 1", "2 publish c", "2 publish d")
	if sender.Unfenced() {
		t.Error("unfenced, though the connection was killed")
	}
}

// go-redis would repeat the whole pipeline by itself, with what was published.
// Nobody is killed: all was answered.
func TestAServerThatCannotNowIsNotAskedTwice(t *testing.T) {
	s, client := newScript(t, func(p string) string { return map[string]string{"a": "-LOADING wait", "b": ":1"}[p] })
	sender := New(client)
	defer sender.Close()
	wantOutcome(t, sender.Send(context.Background(), messages("a", "b")), "", true, "LOADING")
	s.wantAsked(t, "1 publish a", "1 publish b")
	wantOutcome(t, sender.Send(context.Background(), messages("b")), "1", false, "")
	s.wantAsked(t, "1 publish a", "1 publish b", "2 publish b") // where the client would connect now
}

// A connection that was closed while nothing was sent puts no message in doubt.
func TestAnIdleConnectionThatWasClosed(t *testing.T) {
	s, client := newScript(t, func(string) string { return ":1" })
	sender := New(client)
	defer sender.Close()
	sender.idle = 0
	wantOutcome(t, sender.Send(context.Background(), messages("a")), "1", false, "")
	wantOutcome(t, sender.Send(context.Background(), messages("b")), "1", false, "")
	s.mu.Lock()
	_ = s.conns[0].Close()
	s.mu.Unlock()
	wantOutcome(t, sender.Send(context.Background(), messages("c")), "1", false, "")
	s.wantAsked(t, "1 publish a", "1 publish b", "2 publish c")
}

func TestASuspectThatMayNotBeKilled(t *testing.T) {
	broken := false
	s, client := newScript(t, func(string) string {
		if !broken {
			broken = true
			return ""
		}
		return ":1"
	})
	s.kill = "-NOPERM no"
	sender := New(client)
	defer sender.Close()
	wantOutcome(t, sender.Send(context.Background(), messages("a")), "", true, "EOF")
	wantOutcome(t, sender.Send(context.Background(), messages("a")), "1", false, "")
	if !sender.Unfenced() {
		t.Error("not unfenced, though the connection could not be killed")
	}
}
