package consumer_test

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// awaySeconds names the variable that says how long Redis is away.
const awaySeconds = "TRACBUS_AWAY_SECONDS"

// TestRedisAway: while Redis is dead or silent, writers are as fast as ever and
// memory stays as it is; afterwards everything arrives, in order. How fast
// writers were is printed: machines differ too much for more.
func TestRedisAway(t *testing.T) {
	away := 3 * time.Second
	if text, ok := os.LookupEnv(awaySeconds); ok {
		n, err := strconv.Atoi(text)
		require.NoError(t, err, awaySeconds)
		away = time.Duration(n) * time.Second
	}
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "postgresql")
	server := testserver.Redis(t, testserver.RedisOptions{Args: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), DialTimeout: time.Second, ReadTimeout: time.Second})
	defer rdb.Close()
	var all *tracbus.Registration
	publisher := tracbus.NewPublisher(rdb, tracbus.PublisherConfig{StreamKey: "away", StreamMaxLen: 1 << 40, Logger: testkit.Quiet})
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{
		Before: func(b *tracbus.Bus) {
			all = b.All(tracbus.DurableConfig{CallTimeout: 5 * time.Second}.Durable("redis"), publisher)
		},
		Journal: tracbus.JournalConfig{Waker: tracbus.NewRedisWaker(rdb)},
	})

	write := func(d *desk.Desk, during time.Duration) []time.Duration { return writeFor(t, d, during) }
	write(d, away/2) // warm up: connections, and the heap that a bus needs
	var with, without []time.Duration
	var heap, backlog uint64
	for _, fault := range []struct{ begin, end func() }{
		{server.Stop, server.Continue}, // silent
		{server.Kill, server.Restart},  // dead
	} {
		with = append(with, write(d, away/2)...)
		require.NoError(t, all.Wait(testkit.Within(t)))
		d.ForgetHeard()
		before := heapInUse()
		fault.begin()
		without = append(without, write(d, away/2)...)
		d.ForgetHeard()
		if now := heapInUse(); now > before {
			heap = max(heap, now-before)
		}
		st, err := d.Status(testkit.Within(t))
		require.NoError(t, err)
		backlog = uint64(st.Consumers[0].Lag)
		fault.end()
		began := time.Now()
		require.NoError(t, all.Wait(testkit.Within(t)))
		t.Logf("%d changes waited, and were sent within %v: %.0f changes/s", backlog, time.Since(began), float64(backlog)/time.Since(began).Seconds())
		require.Positive(t, backlog)
	}
	slices.Sort(with)
	slices.Sort(without)
	p99 := func(all []time.Duration) time.Duration { return all[len(all)*99/100] }
	t.Logf("Redis away for %v: %d updates without it, %d with it; median %v to %v, p99 %v to %v: ratio %.2f; heap grew by %d KiB",
		away, len(without), len(with), without[len(without)/2], with[len(with)/2], p99(without), p99(with),
		float64(p99(without))/float64(p99(with)), heap>>10)
	assert.Less(t, heap, uint64(16<<20), "memory while Redis is away, for %d changes", backlog)

	// The stream has what the journal has, in its order.
	var streamed, committed []string
	for from := "-"; ; {
		entries, err := rdb.XRangeN(testkit.Within(t), "away", from, "+", 1000).Result()
		require.NoError(t, err)
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			streamed = append(streamed, e.ID+" "+e.Values["mark"].(string))
		}
		from = "(" + entries[len(entries)-1].ID
	}
	for e, err := range d.Since(testkit.Within(t), 0) {
		require.NoError(t, err)
		c := e.About()
		committed = append(committed, strconv.FormatInt(c.TID, 10)+"-"+strconv.Itoa(c.Seq)+" "+c.CommitID)
	}
	assert.Equal(t, committed, streamed)
	assert.False(t, slices.ContainsFunc(committed, func(s string) bool { return strings.HasSuffix(s, " ") }), "every change has a mark")
}

// TestRedisHangs: a Redis that cannot be reached within CallTimeout is away, and no
// reason to give up the lease.
func TestRedisHangs(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "sqlite")
	server := testserver.Redis(t, testserver.RedisOptions{})
	var hangs atomic.Bool
	var tries atomic.Int32
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), DialTimeout: testkit.Patience, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if hangs.Load() {
			tries.Add(1)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}})
	defer rdb.Close()
	notes := testkit.NewNotes()
	var all *tracbus.Registration
	hangs.Store(true)
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{
		Bus: tracbus.BusConfig{Logger: notes.Logger()},
		Before: func(b *tracbus.Bus) {
			config := tracbus.DurableConfig{CallTimeout: 200 * time.Millisecond, Backoff: time.Millisecond}
			all = b.All(config.Durable("redis"), tracbus.NewPublisher(rdb, tracbus.PublisherConfig{Logger: notes.Logger()}))
		},
		Journal: tracbus.JournalConfig{Logger: notes.Logger()},
	})
	d.Say(t, "it waits", 1)
	testkit.Until(t, "it was tried again and again", func() bool { return tries.Load() >= 4 })
	hangs.Store(false)
	require.NoError(t, all.Wait(testkit.Within(t)))
	assert.Zero(t, notes.Count("gives up"))
	assert.Equal(t, 1, notes.Count("Redis is away"))
}

// writeFor has four writers commit one change after the other, and returns how
// long each took.
func writeFor(t *testing.T, d *desk.Desk, during time.Duration) (took []time.Duration) {
	ctx, cancel := context.WithTimeout(testkit.Within(t), during)
	defer cancel()
	var mu sync.Mutex
	var writing sync.WaitGroup
	for w := range int64(4) {
		writing.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				began := time.Now()
				_, err := d.Update(context.WithoutCancel(ctx), desk.Joe, func(tx *tracbus.ModelTransaction) error {
					return tx.Record(ctx, desk.Remark(w+1, strconv.Itoa(n)))
				})
				if ctx.Err() == nil {
					assert.NoError(t, err)
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	writing.Wait()
	return took
}

// heapInUse is what the program has after all garbage is gone.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestLostBeginnings: tries to begin a stream that Redis did not see use up no
// branch, so that the ids of its entries begin as the tids are.
func TestLostBeginnings(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "sqlite")
	rdb := redis.NewClient(&redis.Options{Addr: testserver.Redis(t, testserver.RedisOptions{}).Addr()})
	defer rdb.Close()
	lost := &lostBeginnings{left: 3}
	testkit.NewTap(rdb).Before(lost.lose)
	var all *tracbus.Registration
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Before: func(b *tracbus.Bus) {
		all = b.All(tracbus.DurableConfig{Backoff: time.Millisecond}.Durable("redis"),
			tracbus.NewPublisher(rdb, tracbus.PublisherConfig{StreamKey: "first", Logger: testkit.Quiet}))
	}})
	firstID := func(comment string) string {
		d.Say(t, comment, 1)
		require.NoError(t, all.Wait(testkit.Within(t)))
		entries, err := rdb.XRange(testkit.Within(t), "first", "-", "+").Result()
		require.NoError(t, err)
		require.Len(t, entries, 1)
		return entries[0].ID
	}
	assert.Equal(t, "1-0", firstID("the first"))
	assert.Zero(t, lost.left, "all tries that were to be lost")

	require.NoError(t, rdb.FlushAll(testkit.Within(t)).Err()) // now there was one
	assert.NotEqual(t, "2-0", firstID("the second"), "another branch")
}

// lostBeginnings loses calls of the script that begin anew.
type lostBeginnings struct{ left int }

func (l *lostBeginnings) lose(commands [][]string) error {
	const anew = 5 // behind the command, the script, how many keys, and those
	for _, a := range commands {
		if strings.HasPrefix(a[0], "eval") && len(a) > anew && a[anew] == "1" && l.left > 0 {
			l.left--
			return errors.New("the network ate it")
		}
	}
	return nil
}
