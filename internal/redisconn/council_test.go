package redisconn

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/redisconn/quorum"
	"github.com/tracbus/tracbus/internal/testkit"
)

// An application's function that hangs is called once, and holds nobody up.
func TestToldByAFunctionThatHangs(t *testing.T) {
	testkit.NoLeaks(t)
	var calls atomic.Int32
	hang := make(chan struct{})
	defer close(hang)
	client := redis.NewClusterClient(&redis.ClusterOptions{DialTimeout: 10 * time.Millisecond, ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
		calls.Add(1)
		<-hang
		return nil, nil
	}})
	defer client.Close()
	c := newCouncil(t.Context(), client, "k", &members{})
	for range 3 {
		_, err := c.ask(t.Context(), quorum.Node{})
		require.ErrorContains(t, err, "no answer of ClusterSlots")
	}
	c.close()
	assert.EqualValues(t, 1, calls.Load())
}

// The silent give their seats to others.
func TestChooseThoseWhoAnswer(t *testing.T) {
	client := redis.NewClusterClient(&redis.ClusterOptions{})
	defer client.Close()
	c := newCouncil(t.Context(), client, "k", &members{addrs: []string{"a", "b", "c", "d", "e", "f", "g", "h"}})
	defer c.close()
	for _, addr := range []string{"a", "b", "c"} {
		c.seat(addr).silent.Store(true)
	}
	assert.Equal(t, []string{"b", "d", "e", "f", "g"}, c.choose(quorum.Node{Addr: "b"}))
}

// nameless is a connection of a dialer that does not say where it leads to.
type nameless struct{ net.Conn }

func (nameless) RemoteAddr() net.Addr { return nil }

func TestOddDialers(t *testing.T) {
	assert.Empty(t, remoteOf(nameless{}))
	ctx, cancel := within(t.Context(), -1)
	defer cancel()
	_, limited := ctx.Deadline()
	assert.False(t, limited)
	assert.NoError(t, ctx.Err())

	soon, cancel2 := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel2()
	life := WithoutDeadline(soon)
	_, limited = life.Deadline()
	assert.False(t, limited)
	<-life.Done()
	assert.Equal(t, soon.Err(), life.Err())
}

// Whether the links between nodes can be seen one day.
func TestCannotTell(t *testing.T) {
	for text, want := range map[string]bool{
		"NOPERM User reader has no permissions to run the 'cluster|links' command":        true,
		"ERR unknown subcommand 'links'. Try CLUSTER HELP.":                               true,
		"ERR Unknown subcommand or wrong number of arguments for 'links'":                 true,
		"ERR max number of clients reached":                                               false,
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN.": false,
	} {
		assert.Equal(t, want, cannotTell(reply(text)), text)
	}
	assert.False(t, cannotTell(nil))
	assert.False(t, cannotTell(io.EOF))
}
