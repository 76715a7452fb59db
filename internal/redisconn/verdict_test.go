package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestVerdictOfSentinels: whom five of them name, if their configurations are not the
// same, or not known.
func TestVerdictOfSentinels(t *testing.T) {
	says := func(master string, epoch int64) testimony { return testimony{master: master, epoch: epoch} }
	away := testimony{epoch: -1, err: errors.New("away")}
	for name, test := range map[string]struct {
		heard []testimony
		want  string
		sure  bool
	}{
		"all agree":                            {[]testimony{says("a", 1), says("a", 1), says("a", 1), says("a", 1), says("a", 1)}, "a", true},
		"three do not answer":                  {[]testimony{says("a", 1), says("a", 1), away, away, away}, "a", false},
		"one knows a later configuration":      {[]testimony{says("a", 1), says("a", 1), says("a", 1), says("b", 2), says("a", 1)}, "b", true},
		"so does one of two":                   {[]testimony{away, says("a", 1), away, says("b", 2)}, "b", true},
		"two later ones, which cannot be":      {[]testimony{says("a", 1), says("b", 2), says("b", 2), says("c", 2)}, "b", false},
		"the majority, as one does not say it": {[]testimony{says("a", 1), says("a", 1), says("a", 1), says("b", 2), says("b", -1)}, "a", true},
		"a minority, as one does not say it":   {[]testimony{says("a", -1), away, away, says("b", 2), says("b", 2)}, "b", false},
		"the first answers, for the first one": {[]testimony{says("a", 0), away, away, away, away}, "a", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sentinels{o: &sentinelSettings{FailoverOptions: redis.FailoverOptions{SentinelAddrs: []string{"1", "2", "3", "4", "5"}}}}
			master, sure, err := s.verdict(test.heard)
			require.NoError(t, err)
			assert.Equal(t, test.want, master)
			assert.Equal(t, test.sure, sure)
		})
	}
	s := &sentinels{o: &sentinelSettings{FailoverOptions: redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"1"}}}}
	_, _, err := s.verdict([]testimony{away})
	assert.EqualError(t, err, `no Sentinel at 1 names the master "m": away`)
}

// TestSamePlace: by the server's run, or by the address at the other end.
func TestSamePlace(t *testing.T) {
	placed := make(chan struct{})
	close(placed)
	for _, test := range []struct {
		placed      chan struct{}
		here, there Place
		want        bool
	}{
		{placed, Place{RunID: "x", Remote: "a"}, Place{RunID: "x", Remote: "b"}, true},
		{placed, Place{RunID: "x", Remote: "a"}, Place{RunID: "y", Remote: "a"}, false},
		{placed, Place{Remote: "a"}, Place{RunID: "y", Remote: "a"}, true},
		{placed, Place{RunID: "x", Remote: "a"}, Place{Remote: "b"}, false},
		{nil, Place{RunID: "x", Remote: "a"}, Place{RunID: "x", Remote: "a"}, false}, // it has not said where it is
	} {
		l := &lookout{conn: &Conn{placed: test.placed, place: test.here}}
		assert.Equal(t, test.want, l.same(test.there), "%+v", test)
	}
}

// master is a server that Sentinels may name.
func master(run string) answering {
	text := "run_id:" + run + "\r\nrole:master\r\n"
	return says("info", fmt.Sprintf("$%d\r\n%s\r\n", len(text), text))
}

// sentinel is one that names a master.
func sentinel(master string) answering {
	host, port, _ := net.SplitHostPort(master)
	return func(words []string) string {
		if words[0] == "sentinel" && words[1] == "get-master-addr-by-name" {
			return fmt.Sprintf("*2\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(host), host, len(port), port)
		}
		return "-NOPERM no\r\n"
	}
}

// TestAConnectionThatSentinelsLedTo is left when they name another server, and later if
// most of them say nothing. One server by two names is no other one.
func TestAConnectionThatSentinelsLedTo(t *testing.T) {
	all := []string{"10.0.0.1:2", "10.0.0.2:2", "10.0.0.3:2"}
	for name, test := range map[string]struct {
		now   string   // the master
		stand []string // of the Sentinels
		looks int      // until it is left; 0: never
	}{
		"another server, as all say":           {"10.0.0.8:1", nil, 1},
		"another server, as one says":          {"10.0.0.8:1", all[1:], sureAfter},
		"the same server, by another name":     {"10.0.0.9:1", nil, 0},
		"nobody names one":                     {"10.0.0.9:1", all, 0},
		"a server that does not take anything": {"10.0.0.7:1", nil, sureAfter},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n nodes
				n.become("10.0.0.1:1", master("x"))
				n.become("10.0.0.8:1", master("y"))
				n.become("10.0.0.9:1", master("x"))
				for _, addr := range all {
					n.become(addr, sentinel("10.0.0.1:1"))
				}
				client := NewSentinelClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: all, Dialer: n.dial, Protocol: 2, DisableIdentity: true})
				defer client.Close()
				conn, err := NewRouter(client).Connect(t.Context(), "k", Settings{})
				require.NoError(t, err)
				defer conn.Close()
				for _, addr := range all {
					n.become(addr, sentinel(test.now))
				}
				for _, addr := range test.stand {
					n.become(addr, stands)
				}
				begun := time.Now()
				select {
				case <-conn.Context().Done():
					assert.NotZero(t, test.looks, "left: %v", conn.Err())
					assert.Equal(t, time.Duration(test.looks)*lookOften, time.Since(begun).Truncate(lookOften))
				case <-time.After(time.Minute):
					assert.Zero(t, test.looks)
				}
			})
		})
	}
}

// TestOutlasting: go-redis goes on asking Sentinels after the attempt has ended, unless
// that was cancelled.
func TestOutlasting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &redis.Options{Addr: failoverAddr}
		for name, test := range map[string]struct {
			parent func() (context.Context, context.CancelFunc)
			takes  time.Duration
		}{
			"the attempt takes too long": {func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }, sentinelsTake},
			"the caller takes too long":  {func() (context.Context, context.CancelFunc) { return context.WithTimeout(t.Context(), time.Second) }, sentinelsTake},
			"the caller goes": {func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(3*time.Second, cancel)
				return ctx, cancel
			}, 3 * time.Second},
		} {
			parent, cancel := test.parent()
			ctx, cancel2 := context.WithTimeout(parent, 2*time.Second)
			attempt, end := outlasting(parent, ctx, o)
			begun := time.Now()
			<-attempt.Done()
			assert.Equal(t, test.takes, time.Since(begun), name)
			end()
			cancel2()
			cancel()
		}
		plain, end := outlasting(t.Context(), t.Context(), &redis.Options{})
		defer end()
		assert.Equal(t, t.Context(), plain, "without Sentinels")
	})
}
