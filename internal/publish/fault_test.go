package publish_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// rounds is how often a scenario is repeated.
func rounds(n int) int {
	if testing.Short() {
		return 1
	}
	return n
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
	t.Logf("Unheard while the subscriber was away too: %d; taken to the grave: %d", h.stats.NoReceivers, h.lost()-int(h.stats.NoReceivers))
	away := r.log.With("Redis is away") // a busy machine may add some
	assert.GreaterOrEqual(t, len(away), rounds(3))
	assert.Len(t, r.log.With("Redis is back"), len(away))
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
	away := r.log.With("Redis is away") // a busy machine may add some
	assert.GreaterOrEqual(t, len(away), rounds(5))
	assert.Len(t, r.log.With("Redis is back"), len(away))
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
	assert.NotZero(t, h.stats.Resent)
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
	assert.Positive(t, len(h.received)-len(h.notified), "some must have come twice")
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
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	d := newDetour(t, server.Addr())
	r := newFaultRigVia(t, server, testkit.HastyClient(t, d.addr()), tracbus.BusConfig{})
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
	assert.Empty(t, r.log.With("late"))
}

func TestPublisherWithMessagesThatRedisDoesNotTake(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{Args: []string{"--proto-max-bulk-len", "1048576"}})
	r := newFaultRigVia(t, server, testkit.PatientClient(t, server.Addr()), tracbus.BusConfig{})
	for range 2 { // with others before, between and behind
		r.notify(20)
		r.filler = strings.Repeat("x", 2<<20)
		r.notify(1)
		r.filler = ""
	}
	r.notify(20)
	r.settled()
	r.filler = strings.Repeat("x", 1<<20-1000) // just short enough
	r.notify(2)
	h := r.finish()
	assert.Equal(t, uint64(2), h.stats.Rejected)
	assert.Equal(t, uint64(62), h.stats.Published)
	assert.Error(t, h.stats.LastError)
	assert.False(t, h.stats.Disconnected)
	assert.Len(t, r.log.With("message refused"), 2, "the second is news, for others of its sort went out between")
}

// TestPublisherRefusesNothingThatRedisMightTake, however often it fails.
func TestPublisherRefusesNothingThatRedisMightTake(t *testing.T) {
	const failures = 30
	reset := &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
	for _, tc := range []struct {
		name    string
		size    int
		fail    func(dials int64, publish bool) error // over the connection that was made last
		refused uint64
	}{
		{"long, always hung up on", 64 << 10, func(_ int64, publish bool) error {
			if publish {
				return io.EOF
			}
			return nil
		}, 1},
		{"short, always hung up on", 63 << 10, func(_ int64, publish bool) error {
			if publish {
				return reset
			}
			return nil
		}, 0},
		{"long, in silence", 1 << 20, func(_ int64, publish bool) error {
			if publish {
				return os.ErrDeadlineExceeded
			}
			return nil
		}, 0},
		{"long, no connection answers", 1 << 20, func(int64, bool) error { return reset }, 0},
		{"long, some connections do not answer", 1 << 20, func(dials int64, publish bool) error {
			if publish || dials%2 == 0 {
				return reset
			}
			return nil
		}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			server := testserver.Redis(t, testserver.RedisOptions{})
			r := newFaultRigVia(t, server, testkit.PatientClient(t, server.Addr()), tracbus.BusConfig{})
			failed := 0
			r.trips.fail = func(publish bool) error {
				err := tc.fail(r.tap.Dials.Load(), publish)
				if failed == failures || err == nil {
					return nil
				}
				failed++
				return err
			}
			r.filler = strings.Repeat("x", tc.size)
			r.notify(1)
			r.filler = ""
			r.settled()
			r.notify(10)
			h := r.finish()
			if tc.refused > 0 {
				again := slices.IndexFunc(h.sent, func(trip []int) bool { return trip[0] > 0 })
				assert.Equal(t, 3+5, again, "tries before it is refused")
			}
			assert.Equal(t, tc.refused, h.stats.Rejected)
			assert.Equal(t, 11-tc.refused, h.stats.Published)
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
			r := newFaultRig(b, tracbus.BusConfig{})
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
