package tracbus_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testserver"
)

// rounds is how often a scenario is repeated.
func rounds(n int) int {
	if testing.Short() {
		return 1
	}
	return n
}

func TestPublisherWithAHealthyRedis(t *testing.T) {
	r := newFaultRig(t, tracbus.BusConfig{})
	r.underLoad(400, func() { r.published(2000) })
	h := r.finish()
	assert.Zero(t, h.stats.Repeated)
	assert.Len(t, h.received, len(h.notified))
	assert.Empty(t, r.log.with(""))
}

func TestPublisherWhileRedisIsKilledAndRestarted(t *testing.T) {
	r := newFaultRig(t, tracbus.BusConfig{})
	r.deaf = true
	r.underLoad(400, func() {
		for range rounds(3) {
			r.published(1000)
			r.server.Kill()
			r.away()
			r.notify(500) // returns although nobody is there
			r.server.Restart()
			r.published(1000)
		}
	})
	h := r.finish()
	assert.Equal(t, uint64(len(h.notified)), h.stats.Published)
	t.Logf("Unheard while the subscriber was away too: %d; taken to the grave: %d", h.stats.Unheard, h.lost()-int(h.stats.Unheard))
	assert.Len(t, r.log.with("Redis is away"), rounds(3))
}

func TestPublisherWhileRedisIsStopped(t *testing.T) {
	r := newFaultRig(t, tracbus.BusConfig{})
	r.filler = strings.Repeat("x", 2000) // what the stopped server has in its buffers takes it a while
	r.underLoad(400, func() {
		for range rounds(5) {
			r.published(500)
			r.server.Stop()
			r.notify(300)
			r.away()
			r.server.Continue()
			r.published(500)
		}
	})
	h := r.finish()
	assert.Equal(t, uint64(len(h.notified)), h.stats.Published)
	assert.Len(t, r.log.with("Redis is away"), rounds(5))
}

func TestPublisherWhileClientsArePaused(t *testing.T) {
	for _, mode := range []string{"all", "write"} { // under "write", PUBLISH waits, and CLIENT KILL does not
		t.Run(mode, func(t *testing.T) {
			r := newFaultRig(t, tracbus.BusConfig{})
			admin := directClient(r)
			r.underLoad(400, func() {
				for range rounds(2) {
					r.published(500)
					require.NoError(t, admin.Do(context.Background(), "client", "pause", 500, mode).Err())
					r.notify(300)
					r.away()
					r.published(500)
				}
			})
			h := r.finish()
			assert.Equal(t, uint64(len(h.notified)), h.stats.Published)
		})
	}
}

func TestPublisherWhenConnectionsAreCutAtAnyByte(t *testing.T) {
	r := newFaultRig(t, tracbus.BusConfig{})
	r.notify(1)
	r.settled()
	var offsets []int64
	for n := int64(0); n < 400; n += 7 { // in the handshake, and in the first messages
		offsets = append(offsets, n)
	}
	for range 60 {
		offsets = append(offsets, rand.Int64N(40_000))
	}
	if testing.Short() {
		offsets = offsets[len(offsets)-20:]
	}
	for _, n := range offsets {
		r.proxy.CutAfter(n)
		r.notify(1 + rand.IntN(200))
		r.settled()
	}
	h := r.finish()
	assert.Equal(t, uint64(len(h.notified)), h.stats.Published)
	assert.NotZero(t, h.stats.Repeated)
}

func TestPublisherWhenConnectionsAreCutAtAnyTime(t *testing.T) {
	r := newFaultRig(t, tracbus.BusConfig{})
	r.filler = strings.Repeat("x", 500)
	r.underLoad(400, func() {
		for range 20 * rounds(3) {
			r.published(1 + rand.IntN(300))
			r.proxy.Cut()
		}
		r.published(1)
	})
	h := r.finish()
	assert.Equal(t, uint64(len(h.notified)), h.stats.Published)
}

func TestPublisherWhenAnswersAreLost(t *testing.T) {
	r := newFaultRig(t, tracbus.BusConfig{})
	r.underLoad(400, func() {
		for range rounds(3) {
			r.published(500)
			r.proxy.DropReplies()
			r.notify(300)
			r.away()
			r.proxy.Resume()
			r.published(500)
		}
	})
	h := r.finish()
	assert.Equal(t, uint64(len(h.notified)), h.stats.Published)
	assert.NotZero(t, len(h.received)-len(h.notified), "some must have come twice")
}

func TestPublisherInFrontOfABlackHole(t *testing.T) {
	r := newFaultRig(t, tracbus.BusConfig{})
	r.filler = strings.Repeat("x", 2000)
	r.underLoad(400, func() {
		for range rounds(3) {
			r.published(500)
			r.proxy.Pause()
			r.notify(300)
			r.away()
			r.proxy.Resume() // what was held back arrives now
			r.published(500)
		}
	})
	h := r.finish()
	assert.Equal(t, uint64(len(h.notified)), h.stats.Published)
}

// TestPublisherWhenAnOldConnectionIsSlow is what the fence is for: what was sent
// over the connection that was given up reaches the server after all that was
// sent over the next one.
func TestPublisherWhenAnOldConnectionIsSlow(t *testing.T) {
	noLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	d := newDetour(t, server.Addr())
	r := newFaultRigVia(t, server, d.addr(), tracbus.BusConfig{})
	r.underLoad(400, func() {
		for range rounds(4) {
			r.published(500)
			d.hold()
			r.away()
			r.published(500)
			d.release()
			r.published(500)
		}
	})
	h := r.finish()
	assert.Equal(t, uint64(len(h.notified)), h.stats.Published)
	assert.Empty(t, r.log.with("late"))
}

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

func TestPublisherWhenMoreWaitsThanTheBoundHolds(t *testing.T) {
	const bound = 100
	r := newFaultRig(t, tracbus.BusConfig{Queue: bound, Batch: 10})
	r.notify(10)
	r.settled()
	r.proxy.Refuse()
	r.proxy.Cut()
	r.notify(1)
	r.away()
	r.notify(1000) // returns although nobody is there
	r.proxy.Accept()
	h := r.finish()
	assert.GreaterOrEqual(t, h.stats.Dropped, uint64(1000-bound-10))
	assert.Equal(t, uint64(len(h.notified)), h.stats.Published+h.stats.Dropped)
	got := h.received[len(h.received)-bound:]
	assert.Equal(t, h.notified[len(h.notified)-bound:], got, "the newest are kept")
}

func TestCloseWhileRedisIsAway(t *testing.T) {
	for _, tc := range []struct {
		name    string
		away    func(r *faultRig)
		returns func(r *faultRig)
	}{
		{"killed", func(r *faultRig) { r.server.Kill() }, func(r *faultRig) { r.server.Restart() }},
		{"stopped", func(r *faultRig) { r.server.Stop() }, func(r *faultRig) { r.server.Continue() }},
		{"refused", func(r *faultRig) { r.proxy.Refuse(); r.proxy.Cut() }, func(r *faultRig) { r.proxy.Accept() }},
		{"black hole", func(r *faultRig) { r.proxy.Pause() }, func(r *faultRig) { r.proxy.Resume() }},
		{"mute", func(r *faultRig) { r.proxy.DropReplies() }, func(r *faultRig) { r.proxy.Resume() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newFaultRig(t, tracbus.BusConfig{Batch: 50})
			r.deaf = tc.name == "killed"
			r.notify(100)
			r.settled()
			tc.away(r)
			r.notify(1)
			r.away()
			r.notify(199)

			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			err := r.bus.Close(ctx)
			undelivered, ok := errors.AsType[*tracbus.CloseError](err)
			require.True(t, ok, "got %v, want a CloseError", err)
			require.Len(t, undelivered.Undelivered, 1)
			u := undelivered.Undelivered[0]
			assert.Equal(t, 200, u.Events)
			assert.Equal(t, tracbus.Resource{Realm: tracbus.TicketRealm, ID: "3"}, u.First.Resource())

			_ = r.bus.Close(within(t)) // waits for the call that was going on
			assert.ErrorIs(t, r.bus.Notify(tracbus.TicketDeleted{ID: 1}), tracbus.ErrClosed)
			tc.returns(r)
			h := r.check()
			assert.Equal(t, uint64(100), h.stats.Published)
			assert.Equal(t, uint64(200), h.stats.Dropped+h.stats.Unacknowledged)
		})
	}
}

// BenchmarkNotifyUnderFault reports how long callers of Notify wait for it, while
// Redis is well or not.
func BenchmarkNotifyUnderFault(b *testing.B) {
	for _, bc := range []struct {
		name string
		fail func(r *faultRig)
		mend func(r *faultRig)
	}{
		{"healthy", nil, nil},
		{"stopped", func(r *faultRig) { r.server.Stop() }, func(r *faultRig) { r.server.Continue() }},
		{"killed", func(r *faultRig) { r.server.Kill() }, func(r *faultRig) { r.server.Restart() }},
	} {
		b.Run(bc.name, func(b *testing.B) {
			r := newFaultRig(b, tracbus.BusConfig{Logger: slog.New(slog.DiscardHandler)})
			r.notify(10)
			r.settled()
			if bc.fail != nil {
				bc.fail(r)
				r.notify(1)
				r.away()
			}
			e := tracbus.TicketChanged{
				ID:     17,
				Values: tracbus.Fields{"summary": "Test ticket", "milestone": "milestone1", "status": "new", "owner": "joe", "type": "defect"},
				Old:    tracbus.Fields{"milestone": ""},
			}
			took := make([]time.Duration, 0, 1<<20)
			b.ReportAllocs()
			for b.Loop() {
				start := time.Now()
				err := r.bus.Notify(e)
				took = append(took, time.Since(start))
				if err != nil {
					b.Fatal(err)
				}
			}
			slices.Sort(took)
			at := func(percent int) float64 { return float64(took[(len(took)-1)*percent/100].Nanoseconds()) }
			b.ReportMetric(at(50), "p50-ns")
			b.ReportMetric(at(99), "p99-ns")
			b.ReportMetric(at(100), "max-ns")
			if bc.mend != nil {
				bc.mend(r)
			}
		})
	}
}
