package redisconn

import (
	"context"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Who gets no messages makes no room for answers as long as those: each loop and each
// publisher asks several servers, any of which may announce one.
func TestShortAnswers(t *testing.T) {
	addr := announcing(t, maxShort+1)
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}})
	defer cluster.Close()
	for who, ask := range map[string]func(context.Context) error{
		"publisher": func(ctx context.Context) error {
			_, err := NewRouter(client).Connect(ctx, "k", Settings{Database: true})
			return err
		},
		"lookout": func(ctx context.Context) error {
			_, err := (&lookout{}).look(ctx, client.Options())
			return err
		},
		"node": func(ctx context.Context) error {
			c := newCouncil(ctx, cluster, "k", &members{})
			defer c.close()
			_, err := c.seat(addr).ask(c)
			return err
		},
		"links": func(ctx context.Context) error {
			_, err := (&links{o: client.Options()}).look(ctx)
			return err
		},
		"Sentinel": func(ctx context.Context) error {
			s := newSentinels(ctx, &sentinelSettings{FailoverOptions: redis.FailoverOptions{
				MasterName: "m", Dialer: Dialer{}.Func(), DialTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second,
			}})
			defer s.close()
			return (&sentinelSeat{}).ask(s, addr, true).err
		},
	} {
		t.Run(who, func(t *testing.T) {
			assert.ErrorContains(t, ask(t.Context()), "an answer of more than "+strconv.Itoa(maxShort)+" bytes")
		})
	}
}

// announcing is a server that answers whatever it is asked with the length of a string
// of so many bytes, which never comes.
func announcing(t *testing.T, size int) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, "$"+strconv.Itoa(size)+"\r\n")
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// A Sentinel may name any number of others: not all of them are asked.
func TestFewOfManySentinels(t *testing.T) {
	s := newSentinels(t.Context(), &sentinelSettings{FailoverOptions: redis.FailoverOptions{SentinelAddrs: []string{"s:1"}}})
	defer s.close()
	var named []string
	for port := range 1000 {
		named = append(named, "127.0.0.1:"+strconv.Itoa(1000+port))
	}
	s.learn([]testimony{{remote: "127.0.0.1:1", others: named}})
	once := s.known()
	assert.Len(t, once, 1+maxFound)
	s.learn([]testimony{{remote: "127.0.0.1:1", others: named}})
	assert.Equal(t, once, s.known())
}
