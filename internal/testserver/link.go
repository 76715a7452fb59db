package testserver

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// link is one connection through a [TCPProxy]: a client's and the one that was
// made to the server for it.
type link struct {
	client, server *net.TCPConn

	hole atomic.Bool // nothing gets through any more

	ending sync.Once
	over   chan struct{} // closed when the link was cut
}

// host returns where the client is.
func (l *link) host() string {
	host, _ := split(l.client.RemoteAddr().String())
	return host
}

// carry passes bytes on in both directions until both ends are done.
func (l *link) carry(p *TCPProxy) {
	var answers sync.WaitGroup
	answers.Go(func() { l.answers(p) })
	l.requests(p)
	answers.Wait()
	_ = l.client.Close()
	_ = l.server.Close()
}

// requests carries what the client says.
func (l *link) requests(p *TCPProxy) {
	buf := make([]byte, 32<<10)
	for {
		n, err := l.client.Read(buf)
		if !l.mayPass(p) {
			return
		}
		if l.hole.Load() {
			if err != nil {
				return
			}
			continue
		}
		if n > 0 {
			part, last := p.spend(n)
			if _, err := l.server.Write(buf[:part]); err != nil {
				l.cut()
				return
			}
			if last {
				// The server sees an orderly end, so that it reads all that it
				// got. What it answers finds nobody.
				reset(l.client)
				_ = l.server.CloseWrite()
				return
			}
		}
		if err == io.EOF {
			_ = l.server.CloseWrite()
			return
		}
		if err != nil {
			l.cut()
			return
		}
	}
}

// answers carries what the server says. It listens to the end even when the
// client does not.
func (l *link) answers(p *TCPProxy) {
	buf := make([]byte, 32<<10)
	for {
		n, err := l.server.Read(buf)
		if !l.mayPass(p) {
			return
		}
		if l.hole.Load() {
			if err != nil {
				return
			}
			continue
		}
		if n > 0 && !p.muted() {
			_, _ = l.client.Write(buf[:n])
		}
		if err == io.EOF {
			_ = l.client.CloseWrite()
			return
		}
		if err != nil {
			l.cut()
			return
		}
	}
}

// mayPass waits while the proxy pauses. It is false when the link was cut.
func (l *link) mayPass(p *TCPProxy) bool {
	select {
	case <-l.over:
		return false
	case <-p.flowing():
		return true
	}
}

// cut resets both connections.
func (l *link) cut() {
	l.ending.Do(func() {
		close(l.over)
		reset(l.client)
		reset(l.server)
	})
}

// reset closes a connection so that the other end sees a reset, not an end.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
