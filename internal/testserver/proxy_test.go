package testserver

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestAProxyPassesEverythingOn(t *testing.T) {
	p := Proxy(t, echo(t))
	conn := dial(t, p)
	want := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
	go func() {
		_, _ = conn.Write(want)
		_ = conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("through the proxy\n got %d bytes, %v\nwant the %d bytes sent, nil", len(got), err, len(want))
	}
}

func TestCutResetsConnections(t *testing.T) {
	p := Proxy(t, echo(t))
	one, two := dial(t, p), dial(t, p)
	say(t, one, "hello")
	say(t, two, "hello")
	p.Cut()
	for _, conn := range []net.Conn{one, two} {
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read from a cut connection\n got %v\nwant %v", err, syscall.ECONNRESET)
		}
	}
	say(t, dial(t, p), "hello again")
}

func TestCutAfterLeavesTheServerWithAPart(t *testing.T) {
	s := Redis(t, RedisOptions{})
	p := Proxy(t, s.Addr())
	direct := client(t, &redis.Options{Addr: s.Addr()})
	incr := "*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"

	conn := dial(t, p)
	p.CutAfter(int64(2*len(incr) + 3)) // in the middle of the third
	if _, err := conn.Write(bytes.Repeat([]byte(incr), 5)); err != nil {
		t.Fatal(err)
	}
	_, err := io.ReadAll(conn)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("answers to a pipeline that was cut\n got %v\nwant %v", err, syscall.ECONNRESET)
	}
	eventually(t, "the server did the two whole commands", func() bool {
		return direct.Get(t.Context(), "n").Val() == "2"
	})

	// It was for once, and the half command is not done later.
	mustPing(t, client(t, &redis.Options{Addr: p.Addr()}))
	if got := direct.Get(t.Context(), "n").Val(); got != "2" {
		t.Errorf("commands done\n got %s\nwant 2", got)
	}
}

func TestCutAfterCountsOverWrites(t *testing.T) {
	p := Proxy(t, echo(t))
	conn := dial(t, p)
	p.CutAfter(10)
	say(t, conn, "12345")
	say(t, conn, "6789")
	if _, err := conn.Write([]byte("0")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after the tenth byte\n got %v\nwant %v", err, syscall.ECONNRESET)
	}

	conn = dial(t, p)
	p.CutAfter(0)
	if _, err := conn.Write([]byte("0")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); len(got) > 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after zero bytes\n got %q, %v\nwant nothing, %v", got, err, syscall.ECONNRESET)
	}
}

func TestDropRepliesDoesTheWorkAndLosesTheAnswer(t *testing.T) {
	s := Redis(t, RedisOptions{})
	p := Proxy(t, s.Addr())
	c := client(t, &redis.Options{Addr: p.Addr(), ReadTimeout: 50 * time.Millisecond, MaxRetries: -1})
	mustPing(t, c)

	p.DropReplies()
	err := c.Incr(t.Context(), "n").Err()
	if !isTimeout(err) {
		t.Errorf("INCR without an answer\n got %v\nwant a timeout", err)
	}
	p.Resume()
	if got, err := c.Get(t.Context(), "n").Int(); err != nil || got != 1 {
		t.Errorf("work done\n got %d, %v\nwant 1, nil", got, err)
	}
}

func TestSwallowMakesBlackHoles(t *testing.T) {
	s := Redis(t, RedisOptions{})
	p := Proxy(t, s.Addr())
	direct := client(t, &redis.Options{Addr: s.Addr()})
	old := dial(t, p)
	say(t, old, "PING\r\n", "+PONG\r\n")

	p.Swallow()
	fresh := dial(t, p)
	for _, conn := range []net.Conn{old, fresh} {
		if _, err := io.WriteString(conn, "INCR n\r\n"); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := conn.Read(make([]byte, 1)); !isTimeout(err) {
			t.Errorf("read from a black hole\n got %d, %v\nwant a timeout", n, err)
		}
	}
	_ = old.Close()
	p.Resume()
	say(t, dial(t, p), "PING\r\n", "+PONG\r\n")
	if _, err := io.WriteString(fresh, "INCR n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = fresh.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := fresh.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("read from what was a black hole\n got %d, %v\nwant a timeout", n, err)
	}
	if got := direct.Exists(t.Context(), "n").Val(); got != 0 {
		t.Error("the server heard what was swallowed")
	}
	// This client, both black holes, and the one that came after them.
	if got := strings.Count(direct.ClientList(t.Context()).Val(), "\n"); got != 4 {
		t.Errorf("connections that the server has\n got %d\nwant 4: it does not learn that one was closed", got)
	}
}

func TestRefuseAndAccept(t *testing.T) {
	p := Proxy(t, echo(t))
	conn := dial(t, p)
	say(t, conn, "before")
	for range 2 {
		p.Refuse()
		p.Refuse() // a second time does nothing
		if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial\n got %v\nwant %v", err, syscall.ECONNREFUSED)
		}
		say(t, conn, "a connection that exists goes on")
		p.Accept()
		p.Accept()
		say(t, dial(t, p), "after")
	}
}

func TestRedirectLeadsNewConnectionsElsewhere(t *testing.T) {
	p := Proxy(t, echo(t))
	old := dial(t, p)
	say(t, old, "hello")
	s := Redis(t, RedisOptions{})
	p.Redirect(s.Addr())
	say(t, old, "hello again")
	mustPing(t, client(t, &redis.Options{Addr: p.Addr()}))
}

func TestPauseHoldsBackUntilResume(t *testing.T) {
	p := Proxy(t, echo(t))
	old := dial(t, p)
	say(t, old, "before")

	p.Pause()
	p.Pause() // a second time does nothing
	fresh := dial(t, p)
	for _, conn := range []net.Conn{old, fresh} {
		if _, err := conn.Write([]byte("held")); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := conn.Read(make([]byte, 4)); !isTimeout(err) {
			t.Errorf("read while paused\n got %d, %v\nwant a timeout", n, err)
		}
		_ = conn.SetReadDeadline(time.Time{})
	}
	p.Resume()
	p.Resume()
	for _, conn := range []net.Conn{old, fresh} {
		hear(t, conn, "held")
		say(t, conn, "after")
	}
}

func TestAPausedConnectionCanBeCut(t *testing.T) {
	p := Proxy(t, echo(t))
	conn := dial(t, p)
	say(t, conn, "before")
	p.Pause()
	if _, err := conn.Write([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read\n got %v\nwant %v", err, syscall.ECONNRESET)
	}
}

func TestAProxyEndsWhateverState(t *testing.T) {
	for name, set := range map[string]func(*TCPProxy){
		"paused":     (*TCPProxy).Pause,
		"refusing":   (*TCPProxy).Refuse,
		"mute":       (*TCPProxy).DropReplies,
		"swallowing": (*TCPProxy).Swallow,
		"to be cut":  func(p *TCPProxy) { p.CutAfter(2) },
	} {
		t.Run(name, func(t *testing.T) {
			p := Proxy(t, echo(t))
			conn := dial(t, p)
			say(t, conn, "before")
			set(p)
			if _, err := conn.Write([]byte("held")); err != nil {
				t.Fatal(err)
			}
		})
	}
	noGoroutines(t)
}

func TestAServerThatIsDownResetsItsClients(t *testing.T) {
	s := Redis(t, RedisOptions{})
	p := Proxy(t, s.Addr())
	c := client(t, &redis.Options{Addr: p.Addr()})
	mustPing(t, c)
	s.Kill()
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("a killed server answered")
	}
	s.Restart()
	mustPing(t, c)
}

// echo starts a server that says what it hears, and ends with the test.
func echo(t *testing.T) string {
	t.Helper()
	l := listen(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.AcceptTCP()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func dial(t *testing.T, p *TCPProxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

// say sends words and hears them back, or what is to be answered.
func say(t *testing.T, conn net.Conn, words string, answer ...string) {
	t.Helper()
	if _, err := io.WriteString(conn, words); err != nil {
		t.Fatalf("say %q: %v", words, err)
	}
	hear(t, conn, append(answer, words)[0])
}

func hear(t *testing.T, conn net.Conn, words string) {
	t.Helper()
	got := make([]byte, len(words))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != words {
		t.Fatalf("heard\n got %q, %v\nwant %q, nil", got, err, words)
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
