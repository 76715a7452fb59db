package publish_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// replicaRig publishes to an address at which there is one of two servers; subscribers
// are at the second one.
type replicaRig struct {
	t             *testing.T
	first, second *testserver.RedisServer
	proxy         *testserver.TCPProxy
	ear           *testkit.Ear
	bus           *tracbus.Bus
	publisher     *tracbus.Publisher
	log           testkit.LogRecorder
	told          int
}

func newReplicaRig(t *testing.T, rules string) *replicaRig {
	t.Helper()
	testkit.NoLeaks(t)
	options := testserver.RedisOptions{Users: []testserver.RedisUser{{Name: "trac", Password: "x", Rules: rules}}}
	r := &replicaRig{t: t, first: testserver.Redis(t, options), second: testserver.Redis(t, options)}
	r.proxy = testserver.Proxy(t, r.first.Addr())
	r.ear = testkit.NewEar(t, testkit.PatientClient(t, r.second.Addr()))
	client := redis.NewClient(&redis.Options{Addr: r.proxy.Addr(), Username: "trac", Password: "x", DisableIdentity: true})
	t.Cleanup(func() { _ = client.Close() })
	r.bus = tracbus.BusConfig{Logger: testkit.Quiet}.NewBus("test")
	r.publisher = tracbus.NewPublisher(client, tracbus.PublisherConfig{MaxBackoff: 20 * time.Millisecond, Logger: slog.New(&r.log)})
	r.bus.All(tracbus.Primary, r.publisher)
	t.Cleanup(func() { assert.NoError(t, r.bus.Close(testkit.Within(t))) })
	return r
}

func (r *replicaRig) replicate(s *testserver.RedisServer, host, port string) {
	r.t.Helper()
	require.NoError(r.t, testkit.PatientClient(r.t, s.Addr()).Do(context.Background(), "replicaof", host, port).Err())
}

func (r *replicaRig) tell(n int) {
	r.t.Helper()
	for range n {
		r.told++
		require.NoError(r.t, r.bus.Notify(tracbus.TicketChanged{ID: int64(r.told), Values: tracbus.Fields{"a": "b"}}))
	}
}

func (r *replicaRig) away() {
	r.t.Helper()
	testkit.Until(r.t, "Redis is away", func() bool { return r.publisher.Stats().Disconnected })
}

// hears waits until all told after the first n are heard, in order.
func (r *replicaRig) hears(n int) {
	r.t.Helper()
	require.NoError(r.t, r.bus.Wait(testkit.Within(r.t)))
	testkit.Until(r.t, "all is heard", func() bool { return len(r.ear.All()) >= r.told-n })
	var want, got []string
	for id := n + 1; id <= r.told; id++ {
		want = append(want, fmt.Sprint("trac.test.ticket.changed.", id))
	}
	for _, m := range r.ear.All() {
		got = append(got, m.Channel)
	}
	assert.Equal(r.t, want, got)
}

// What nobody hears at a replica is not published: it goes out, in its order, where the
// address leads to next. The right to ask for more than the part that a server plays is
// not needed.
func TestPublisherAtAReplica(t *testing.T) {
	for name, rules := range map[string]string{
		"with all rights": "resetchannels &trac.* +publish +client|kill +info", "with one": "resetchannels &trac.* +publish",
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplicaRig(t, rules)
			r.tell(10)
			require.NoError(t, r.bus.Wait(testkit.Within(t)))
			assert.EqualValues(t, 10, r.publisher.Stats().NoReceivers)

			r.replicate(r.first, "127.0.0.1", fmt.Sprint(r.second.Port())) // the connection stays
			r.tell(300)
			r.away()
			r.tell(10)
			stats := r.publisher.Stats()
			assert.EqualValues(t, 10, stats.Published, "nobody hears the others")
			assert.ErrorContains(t, stats.LastError, "is a replica of")
			r.proxy.Redirect(r.second.Addr())
			r.hears(10)
			stats = r.publisher.Stats()
			assert.EqualValues(t, 320, stats.Published)
			assert.EqualValues(t, 10, stats.NoReceivers)
			assert.Len(t, r.log.With("Redis is away"), 1)
			assert.Len(t, r.log.With("Redis is back"), 1)
			unwatched := 0
			if rules == "resetchannels &trac.* +publish" {
				unwatched = 1
			}
			assert.Len(t, r.log.With("Redis may be elsewhere unnoticed"), unwatched)
			if unwatched == 0 {
				assert.Len(t, r.log.With("is a replica of 127.0.0.1:"+fmt.Sprint(r.second.Port())), 1)
			}
		})
	}
}

// A server that is made a replica and a master again is back by itself.
func TestPublisherAtAReplicaForAWhile(t *testing.T) {
	r := newReplicaRig(t, "resetchannels &trac.* +publish +client|kill +info")
	r.replicate(r.first, "127.0.0.1", "1") // before there is a connection
	r.tell(10)
	r.away()
	assert.Zero(t, r.publisher.Stats().Published)
	r.replicate(r.first, "no", "one")
	require.NoError(t, r.bus.Wait(testkit.Within(t)))
	assert.EqualValues(t, 10, r.publisher.Stats().Published)
	assert.Len(t, r.log.With(""), 2, "away and back")
}
