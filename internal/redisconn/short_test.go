package redisconn

import (
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
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

// A Sentinel that is named and does not answer is not waited for when others have: they
// name those that are gone until somebody resets them.
func TestASentinelThatIsGoneIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSentinels(t.Context(), &sentinelSettings{FailoverOptions: redis.FailoverOptions{
			MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}, DialTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second,
			Dialer: func(_ context.Context, _, addr string) (net.Conn, error) {
				near, far := net.Pipe()
				if addr == "127.0.0.1:1" {
					go playSentinel(far)
				} else {
					go func() { _, _ = io.Copy(io.Discard, far) }()
				}
				return remote{near, addr}, nil
			},
		}})
		defer s.close()
		began := time.Now()
		master, _, err := s.ask(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "127.0.0.1:5", master)
		assert.Equal(t, patience, time.Since(began))
		assert.Contains(t, s.known(), "127.0.0.1:9")
	})
}

// playSentinel is a Sentinel that names a master and another Sentinel.
func playSentinel(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		say := ""
		for _, command := range strings.Split("\n"+string(buf[:n]), "\n*")[1:] {
			switch {
			case strings.Contains(command, "get-master-addr-by-name"):
				say += "*2\r\n$9\r\n127.0.0.1\r\n$1\r\n5\r\n"
			case strings.Contains(command, "sentinels"):
				say += "*1\r\n*4\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n$4\r\nport\r\n$1\r\n9\r\n"
			default:
				say += "-ERR unknown command\r\n"
			}
		}
		if _, err := io.WriteString(conn, say); err != nil {
			return
		}
	}
}
