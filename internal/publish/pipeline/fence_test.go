package pipeline

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// The connection of a message whose answer was lost is killed before the message goes
// out again, at a server that does not know HELLO too, as before Redis 6. If it does not
// tell the connection's number either, that is known.
func TestFenceWithoutHello(t *testing.T) {
	for _, tc := range []struct {
		name     string
		lacks    []string // commands
		rights   string
		unfenced bool
	}{
		{"a server with HELLO", nil, "", false},
		{"one without", []string{"HELLO"}, "", false},
		{"one without, and CLIENT ID is forbidden", []string{"HELLO"}, "-client|id", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			options := testserver.RedisOptions{Users: []testserver.RedisUser{{Name: "publisher", Password: "x", Rules: "~* &* +@all " + tc.rights}}}
			for _, command := range tc.lacks {
				options.Args = append(options.Args, "--rename-command", command, "")
			}
			server := testserver.Redis(t, options)
			proxy := testserver.Proxy(t, server.Addr())
			admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
			t.Cleanup(func() { _ = admin.Close() })
			client := redis.NewClient(&redis.Options{Addr: proxy.Addr(), Username: "publisher", Password: "x", ReadTimeout: 200 * time.Millisecond})
			t.Cleanup(func() { _ = client.Close() })
			sender := New(client)
			defer sender.Close()

			ctx := testkit.Within(t)
			require.NoError(t, sender.Send(ctx, messages("a")).Err)
			list, err := admin.ClientList(ctx).Result()
			require.NoError(t, err)
			carrier := fmt.Sprintf("id=%d ", sender.carrier.number)
			assert.Equal(t, !tc.unfenced, strings.Contains(list, carrier), "%s in\n%s", carrier, list)
			proxy.DropReplies()
			require.Error(t, sender.Send(ctx, messages("b")).Err)
			proxy.Resume()
			testkit.Until(t, "it is sent again", func() bool { return sender.Send(ctx, messages("b")).Err == nil })
			assert.Equal(t, tc.unfenced, sender.Unfenced())
			info, err := admin.Info(ctx, "commandstats").Result()
			require.NoError(t, err)
			assert.Equal(t, !tc.unfenced, strings.Contains(info, "cmdstat_client|kill:"), "it is killed")
		})
	}
}
