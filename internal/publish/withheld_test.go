package publish

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testserver"
)

// A Redis without EVAL gets the script by SCRIPT LOAD, and one without either says
// what it lacks.
func TestSpanWhereCommandsAreWithheld(t *testing.T) {
	const (
		rest   = "~* &* +publish +hmget +hset +time "
		needed = "expected EVAL or SCRIPT LOAD, besides EVALSHA, neither renamed nor forbidden"
	)
	renamed := func(commands ...string) (args []string) {
		for _, c := range commands {
			args = append(args, "--rename-command", c, "")
		}
		return args
	}
	for _, tc := range []struct {
		name  string
		args  []string // of the server
		rules string   // of the publisher's user; "" is the default user
		want  string   // how the error begins; "" is none
		lacks string   // how it ends
	}{
		{"EVAL is renamed", renamed("EVAL"), "", "", ""},
		{"EVAL is forbidden", nil, rest + "+evalsha +script|load", "", ""},
		{"SCRIPT is forbidden", nil, rest + "+evalsha +eval", "", ""},
		{"both are renamed", renamed("EVAL", "SCRIPT"), "", "publish: ERR unknown command 'script': ", needed},
		{"both are forbidden", nil, rest + "+evalsha", "publish: NOPERM ", needed},
		{"EVALSHA is renamed", renamed("EVALSHA"), "", "publish: ERR unknown command 'evalsha': ", "expected EVALSHA, neither renamed nor forbidden"},
		{"EVALSHA is forbidden", nil, rest + "+eval +script|load", "publish: NOPERM ", "expected EVALSHA, neither renamed nor forbidden"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			options, user := testserver.RedisOptions{Args: tc.args}, (*redis.Options)(nil)
			if tc.rules != "" {
				options.Users = []testserver.RedisUser{{Name: "narrow", Password: "x", Rules: tc.rules}}
				user = &redis.Options{Username: "narrow", Password: "x"}
			}
			r := newSendRig(t, Config{}, options, user)
			events, names := transactions(1, 2, 1)
			require.NoError(t, r.client.HSet(r.ctx(), r.state, "tid", "0", "mark", "", "next_tid", "", "next", "", "seq", "", "branch", "0", "entry", "0-0").Err())
			for range 2 {
				err := r.send(0, 2, events)
				if tc.want == "" {
					require.NoError(t, err)
					continue
				}
				require.Error(t, err)
				assert.Regexp(t, "^"+tc.want, err.Error())
				assert.Regexp(t, tc.lacks+"$", err.Error())
				assert.Less(t, len(err.Error()), 300, "the script's text is not in it")
			}
			assert.False(t, r.publisher.Stats().Disconnected, "Redis has answered")
			if tc.want == "" {
				assert.Equal(t, names, r.heard())
			} else {
				assert.Empty(t, r.heard())
			}
		})
	}
}
