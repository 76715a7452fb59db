package testserver

import (
	"net"
	"slices"
	"sync"
	"testing"
)

// TCPProxy sits between clients and a server and does what networks do. It
// begins by passing everything on, in both directions, as it comes.
//
// A method that changes what happens to bytes is sure of all bytes that are
// sent after it has returned. Methods may be called at any time.
type TCPProxy struct {
	t    testing.TB
	addr string

	running sync.WaitGroup // the carriers of all links

	mu     sync.Mutex // guards what follows
	target string
	door   *door          // nil while refusing
	links  map[*link]bool // the connections that are not over
	flow   chan struct{}  // closed while bytes flow
	mute   bool           // swallows what servers say
	hole   bool           // swallows whatever comes on connections that are made
	from   []string       // hosts whose connections are holes as well
	cutIn  int64          // bytes to the server until the cut; noCut means never
}

const noCut = -1

// door is one time of listening.
type door struct {
	listener *net.TCPListener
	closed   chan struct{} // closed when nobody comes in any more
}

// Proxy starts a proxy in front of a server's host and port that ends with the
// test.
func Proxy(t testing.TB, target string) *TCPProxy {
	t.Helper()
	l := listen(t)
	p := &TCPProxy{
		t:      t,
		target: target,
		addr:   l.Addr().String(),
		links:  map[*link]bool{},
		flow:   make(chan struct{}),
		cutIn:  noCut,
	}
	close(p.flow)
	p.open(l)
	t.Cleanup(func() {
		p.Refuse()
		p.Cut()
		p.running.Wait()
	})
	return p
}

// Addr returns the host and port that clients connect to.
func (p *TCPProxy) Addr() string { return p.addr }

// Cut resets all connections on both sides. Bytes on their way are lost.
func (p *TCPProxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut()
	}
}

// CutAfter cuts once: the connection on which the n-th byte from now goes to
// the server is reset right after that byte. The server reads, and acts on,
// what came before; its answers are lost. Bytes of all connections count, those
// with which a client introduces itself as well. With n zero, nothing more
// gets through on the connection that next tries.
func (p *TCPProxy) CutAfter(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutIn = max(n, 0)
}

// DropReplies swallows what the server says until Resume, while it hears what
// clients say: work is done, and its answer lost.
func (p *TCPProxy) DropReplies() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = true
}

// Swallow makes black holes of all connections, and of those that are made until
// Resume: they stay open, nothing gets through in either direction, and neither end
// learns that the other has closed. These connections stay black holes after
// Resume. Cut ends them.
func (p *TCPProxy) Swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hole = true
	for l := range p.links {
		l.hole.Store(true)
	}
}

// SwallowFrom is Swallow for the connections of clients at one host.
func (p *TCPProxy) SwallowFrom(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.from = append(p.from, host)
	for l := range p.links {
		if l.host() == host {
			l.hole.Store(true)
		}
	}
}

// CutHoles is Cut for black holes only.
func (p *TCPProxy) CutHoles() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		if l.hole.Load() {
			l.cut()
		}
	}
}

// Redirect has connections that are made from now on lead to another server, as
// when an address moves. Those that exist go on.
func (p *TCPProxy) Redirect(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Pause holds back all bytes and ends of connections until Resume.
// Connections stay open, and new ones can be made.
func (p *TCPProxy) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flow:
		p.flow = make(chan struct{})
	default: // paused already
	}
}

// Resume ends Pause, after which what was held back goes on its way, and
// DropReplies, Swallow and SwallowFrom, after which what was swallowed stays lost.
func (p *TCPProxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute, p.hole, p.from = false, false, nil
	select {
	case <-p.flow:
	default:
		close(p.flow)
	}
}

// Refuse refuses new connections, as a port does on which nobody listens. Those
// that exist go on.
func (p *TCPProxy) Refuse() {
	p.mu.Lock()
	d := p.door
	p.door = nil
	p.mu.Unlock()
	if d != nil {
		_ = d.listener.Close()
		<-d.closed
	}
}

// Accept ends Refuse.
func (p *TCPProxy) Accept() {
	p.t.Helper()
	p.mu.Lock()
	accepting := p.door != nil
	p.mu.Unlock()
	if accepting {
		return
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Fatalf("proxy: accept again: %v", err)
	}
	p.open(l.(*net.TCPListener))
}

func (p *TCPProxy) open(l *net.TCPListener) {
	d := &door{listener: l, closed: make(chan struct{})}
	p.mu.Lock()
	p.door = d
	p.mu.Unlock()
	go func() {
		defer close(d.closed)
		for {
			client, err := d.listener.AcceptTCP()
			if err != nil {
				return
			}
			p.connect(client)
		}
	}()
}

// connect links a client to the server. A server that cannot be reached shows
// as a connection that is reset.
func (p *TCPProxy) connect(client *net.TCPConn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.DialTimeout("tcp", target, patience)
	if err != nil {
		reset(client)
		return
	}
	l := &link{client: client, server: server.(*net.TCPConn), over: make(chan struct{})}
	p.mu.Lock()
	l.hole.Store(p.hole || slices.Contains(p.from, l.host()))
	p.links[l] = true
	p.mu.Unlock()
	p.running.Go(func() {
		l.carry(p)
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	})
}

// flowing returns a channel that is closed once bytes may flow.
func (p *TCPProxy) flowing() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flow
}

func (p *TCPProxy) muted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mute
}

// spend returns how many of n bytes may go to the server, and whether the
// connection is to be cut after them.
func (p *TCPProxy) spend(n int) (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cutIn == noCut {
		return n, false
	}
	if int64(n) < p.cutIn {
		p.cutIn -= int64(n)
		return n, false
	}
	n = int(p.cutIn)
	p.cutIn = noCut
	return n, true
}
