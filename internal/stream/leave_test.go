package stream_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/stream"
	"github.com/tracbus/tracbus/internal/stream/streamtest"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

func TestLeavingAStreamLeavesNothing(t *testing.T) {
	// With time-outs as long as these, only the context can end the loop in time.
	patient := func(t *testing.T, addr string) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: time.Hour, WriteTimeout: time.Hour, DialTimeout: time.Hour})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	slow := stream.Config{Key: streamtest.Key, PingAfter: time.Hour, MaxBackoff: time.Hour, Refill: forever}
	t.Run("break", func(t *testing.T) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		c := testkit.HastyClient(t, server.Addr())
		streamtest.NewAppender(t, c).Add(streamtest.Span(1, 9)...)
		items, err := stream.Read(t.Context(), patient(t, server.Addr()), slow, "3-0")
		require.NoError(t, err)
		for item := range items {
			require.NoError(t, item.Err)
			require.Equal(t, "4-0", item.ID)
			break
		}
		testkit.Until(t, "the server has no reader any more", func() bool { return readers(t, c) == 0 })
	})
	t.Run("cancelled while it waits", func(t *testing.T) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		c := testkit.HastyClient(t, server.Addr())
		l := read(t, patient(t, server.Addr()), slow, "", forever)
		l.Says("0-0 begun 0..0")
		testkit.Until(t, "the loop waits", func() bool { return readers(t, c) == 1 })
		l.Stop()
		testkit.Until(t, "the server has no reader any more", func() bool { return readers(t, c) == 0 })
	})
	t.Run("cancelled in front of a black hole", func(t *testing.T) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		proxy := testserver.Proxy(t, server.Addr())
		l := read(t, patient(t, proxy.Addr()), slow, "", forever)
		l.Says("0-0 begun 0..0")
		proxy.Pause()
		l.Stop()
	})
	t.Run("cancelled while it connects to a black hole", func(t *testing.T) {
		testkit.NoLeaks(t)
		addr, asked := hole(t)
		l := read(t, patient(t, addr), slow, "", forever)
		<-asked
		l.Stop()
	})
	t.Run("cancelled while nobody is there", func(t *testing.T) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		server.Kill()
		l := read(t, patient(t, server.Addr()), slow, "7", forever)
		l.lost("7-0")
		l.Stop()
	})
	t.Run("cancelled in the middle of what was read", func(t *testing.T) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		c := testkit.HastyClient(t, server.Addr())
		streamtest.NewAppender(t, c).Add(streamtest.Span(1, 9)...)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		items, err := stream.Read(ctx, c, slow, "0-0")
		require.NoError(t, err)
		for range items {
			if n++; n == 3 {
				cancel()
			}
		}
		assert.Equal(t, 3, n)
	})
}

// TestStreamOfAnotherDatabase reads where its client does.
func TestStreamOfAnotherDatabase(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{})
	c := redis.NewClient(&redis.Options{Addr: server.Addr(), DB: 3, PoolSize: 1}) // of which none is taken
	defer c.Close()
	l := read(t, c, stream.Config{}, "", forever)
	l.Says("0-0 begun 0..0")
	streamtest.NewAppender(t, testkit.PatientClient(t, server.Addr())).Add(5)
	streamtest.NewAppender(t, c).Add(6)
	l.Takes(0, 6)
	l.Stop()
}

// TestStreamOfACluster asks the node that has the key.
func TestStreamOfACluster(t *testing.T) {
	testkit.NoLeaks(t)
	server := testserver.Redis(t, testserver.RedisOptions{Args: []string{"--cluster-enabled", "yes"}})
	admin := testkit.PatientClient(t, server.Addr())
	require.NoError(t, admin.ClusterAddSlotsRange(t.Context(), 0, 16383).Err())
	testkit.Until(t, "the cluster stands", func() bool { return admin.Get(context.Background(), "x").Err() == redis.Nil })
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr()}})
	defer c.Close()
	l := read(t, c, stream.Config{}, "", forever)
	l.Says("0-0 begun 0..0")
	p := streamtest.NewAppender(t, admin)
	p.Add(1, 2)
	l.Takes(0, 1, 2)
	require.NoError(t, admin.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err())
	l.lost("2-0")
	p.Add(3)
	l.Takes(0, 3)
	l.Stop()
}

// hole returns the address of a server that accepts and is silent. The channel
// gets a value for each connection on which something was said to it.
func hole(t *testing.T) (addr string, asked <-chan struct{}) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	said := make(chan struct{}, 100)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				buf := make([]byte, 1024)
				if n, _ := conn.Read(buf); n > 0 {
					said <- struct{}{}
				}
				_, _ = io.Copy(io.Discard, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return listener.Addr().String(), said
}
