package failover_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tracbus/tracbus/tests/campaign/record"
)

// publication is a PUBLISH as the server executed it.
type publication struct {
	at     time.Time // by the server's clock, which is everybody's
	server int
}

// change names a change among those of all writers.
type change struct {
	writer role
	n      int
}

// monitors watch what servers execute, with MONITOR: unlike subscribers they are
// no receivers, which publishers count. They use nothing of the library, nor of
// a client.
type monitors struct {
	mu           sync.Mutex
	publications map[change][]publication
}

// monitor starts to watch servers, until the test ends.
func monitor(t testing.TB, addrs []string) *monitors {
	m := &monitors{publications: map[change][]publication{}}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for server, addr := range addrs {
		running.Go(func() {
			for ctx.Err() == nil {
				m.watch(ctx, server, addr)
				record.Sleep(ctx, 20*time.Millisecond)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return m
}

// watch watches a server for as long as the connection lasts. One that was stopped
// tells the rest when it goes on.
func (m *monitors) watch(ctx context.Context, server int, addr string) {
	conn, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := io.WriteString(conn, "AUTH "+password+"\r\nMONITOR\r\n"); err != nil {
		return
	}
	for lines := bufio.NewReader(conn); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		if c, at, ok := published(line); ok {
			m.mu.Lock()
			m.publications[c] = append(m.publications[c], publication{at, server})
			m.mu.Unlock()
		}
	}
}

// A line is: +1339518083.107412 [0 127.0.0.1:60866] "PUBLISH" "trac.durable.ticket.created" "{\"id\": 7, …
var (
	monitorLine = regexp.MustCompile(`(?i)^\+(\d+)\.(\d{6}) \[[^\]]*\] "publish" "trac\.(\w+)\.ticket\.created" "(.*)"\s*$`)
	payloadID   = regexp.MustCompile(`\\"id\\": ?(\d+)`)
)

// published reads which change a line of MONITOR says is published.
func published(line string) (c change, at time.Time, ok bool) {
	parts := monitorLine.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
	if parts == nil {
		return c, at, false
	}
	id := payloadID.FindStringSubmatch(parts[4])
	if id == nil {
		panic(fmt.Sprintf("a message without id: %q", line)) // a test of its own format would fail elsewhere
	}
	seconds, _ := strconv.ParseInt(parts[1], 10, 64) // digits, by the pattern
	micros, _ := strconv.ParseInt(parts[2], 10, 64)
	n, _ := strconv.Atoi(id[1])
	return change{role(parts[3]), n}, time.UnixMicro(seconds*1e6 + micros), true
}

// all returns all publications; nobody watches any more, or they are of a moment.
func (m *monitors) all() map[change][]publication {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[change][]publication, len(m.publications))
	for c, p := range m.publications {
		all[c] = p
	}
	return all
}
