package tracbus_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

func TestLeavingTheLoopLeavesNothing(t *testing.T) {
	t.Run("break", func(t *testing.T) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		client := testkit.HastyClient(t, server.Addr())
		for e, err := range tracbus.NewSubscriber(client, tracbus.SubscriberConfig{}).Events(context.Background()) {
			require.NoError(t, err)
			require.IsType(t, tracbus.Resync{}, e)
			break
		}
		testkit.Until(t, "the server has no subscriber any more", func() bool {
			n, err := client.Publish(context.Background(), "trac.x", "").Result()
			return err == nil && n == 0
		})
	})
	t.Run("break on an error", func(t *testing.T) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		server.Kill()
		for _, err := range tracbus.NewSubscriber(testkit.HastyClient(t, server.Addr()), tracbus.SubscriberConfig{}).Events(context.Background()) {
			require.ErrorIs(t, err, tracbus.ErrDisconnected)
			break
		}
	})

	// With timeouts as long as these, only the context can end the loop in time.
	patient := func(t *testing.T, addr string) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: time.Hour, WriteTimeout: time.Hour, DialTimeout: time.Hour})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	t.Run("cancelled in front of a black hole", func(t *testing.T) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		proxy := testserver.Proxy(t, server.Addr())
		l := listen(t, patient(t, proxy.Addr()), tracbus.SubscriberConfig{PingAfter: time.Hour})
		l.resync(tracbus.ResyncSubscribed)
		proxy.Pause()
		l.stop()
	})
	t.Run("cancelled while it connects to a black hole", func(t *testing.T) {
		testkit.NoLeaks(t)
		addr, asked := hole(t)
		l := listen(t, patient(t, addr), tracbus.SubscriberConfig{})
		<-asked
		l.stop()
	})
	t.Run("cancelled while it connects again to a black hole", func(t *testing.T) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		proxy := testserver.Proxy(t, server.Addr())
		l := listen(t, patient(t, proxy.Addr()), tracbus.SubscriberConfig{})
		l.resync(tracbus.ResyncSubscribed)
		proxy.Pause()
		proxy.Cut()
		l.lost() // at once, not when the next connection has failed too
		l.stop()
	})
	t.Run("cancelled while nobody is there", func(t *testing.T) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		server.Kill()
		l := listen(t, patient(t, server.Addr()), tracbus.SubscriberConfig{MaxBackoff: time.Hour})
		l.lost()
		l.stop()
	})
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
