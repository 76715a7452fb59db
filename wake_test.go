package tracbus

import (
	"context"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/redisconn"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/testkit"
)

// TestOwnCallsWakeNobody: a process hears the calls of others, and not its own, which say
// nothing that it does not know.
func TestOwnCallsWakeNobody(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	process := func(origin string) *Journal {
		return &Journal{store: new(store.Store), origin: origin, config: JournalConfig{WakeRedis: client, Logger: testkit.Quiet}, caller: redisconn.NewCaller(client)}
	}
	here, there := process("here"), process("there")
	defer here.caller.Close()
	defer there.caller.Close()
	heard := 0
	for h := range here.hearOthers(ctx) {
		switch {
		case h.Err != nil: // all that was called before is heard
			assert.Equal(t, 1, heard, "calls")
			return
		case h.Call:
			heard++
			if heard == 1 {
				server.Close()
			}
		default: // it hears from now on
			for _, j := range []*Journal{here, here, there} {
				found, err := j.callOthers(ctx)
				require.NoError(t, err)
				assert.True(t, found, "somebody hears it")
			}
		}
	}
	t.Fatal("nothing was heard of the server's end")
}
