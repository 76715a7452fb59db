package publish_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// detour is a proxy that can hold back what the connections of one time send,
// while it carries later ones.
type detour struct {
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	now   *era
	past  *era // nil unless held
	conns []net.Conn
}

// era is the time between two calls of hold.
type era struct {
	held  chan struct{} // nil while its connections are carried; closed by release
	links sync.WaitGroup
}

func newDetour(t testing.TB, target string) *detour {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := &detour{target: target, listener: l, now: &era{}}
	d.running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			d.carry(client)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		d.mu.Lock()
		if d.past != nil {
			close(d.past.held)
		}
		for _, c := range d.conns {
			_ = c.Close()
		}
		d.mu.Unlock()
		d.running.Wait()
	})
	return d
}

func (d *detour) addr() string { return d.listener.Addr().String() }

// hold holds back what is sent over the connections that there are.
func (d *detour) hold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.past, d.now = d.now, &era{}
	d.past.held = make(chan struct{})
}

// release lets it go on its way, and returns when the server has it, or has
// closed the connection.
func (d *detour) release() {
	d.mu.Lock()
	past := d.past
	d.past = nil
	d.mu.Unlock()
	close(past.held)
	past.links.Wait()
}

func (d *detour) carry(client net.Conn) {
	server, err := net.Dial("tcp", d.target)
	if err != nil {
		_ = client.Close()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns = append(d.conns, client, server)
	e := d.now
	e.links.Add(1)
	d.running.Go(func() {
		defer e.links.Done()
		defer server.Close()
		buf := make([]byte, 1<<20)
		for {
			n, err := client.Read(buf)
			d.mu.Lock()
			held := e.held
			d.mu.Unlock()
			if held != nil {
				<-held
			}
			if _, broken := server.Write(buf[:n]); err != nil || broken != nil {
				return
			}
		}
	})
	d.running.Go(func() {
		defer client.Close()
		_, _ = io.Copy(client, server)
	})
}
