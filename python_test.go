package tracbus_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testserver"
)

// pythonLoop is testdata/subscriber.py, subscribed to everything.
type pythonLoop struct {
	t     testing.TB
	cmd   *exec.Cmd
	lines *bufio.Scanner
	errs  strings.Builder
}

func startPython(t testing.TB, server *testserver.RedisServer) *pythonLoop {
	t.Helper()
	p := &pythonLoop{t: t}
	p.cmd = exec.Command(testserver.Python(t), "testdata/subscriber.py", "127.0.0.1", strconv.Itoa(server.Port()), "*")
	p.cmd.Stderr = &p.errs
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // fails if it has ended, as it should
		_, _ = io.Copy(io.Discard, out)
		_ = p.cmd.Wait()
	})
	p.lines = bufio.NewScanner(out)
	p.lines.Buffer(nil, 64<<20)
	require.Equal(t, "subscribed", p.next())
	return p
}

func (p *pythonLoop) next() string {
	p.t.Helper()
	require.True(p.t, p.lines.Scan(), "the Python program printed nothing: %v, %s", p.lines.Err(), &p.errs)
	return p.lines.Text()
}

// receives wants a message next, whose data means what payload does.
func (p *pythonLoop) receives(t *testing.T, channel, payload string, normalised bool) {
	t.Helper()
	var got [2]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(p.next()), &got))
	var from string
	require.NoError(t, json.Unmarshal(got[0], &from))
	assert.Equal(t, channel, from)
	if !assert.ObjectsAreEqual(meaning(t, payload, normalised), meaning(t, string(got[1]), normalised)) {
		t.Errorf("data that json.loads gives\n got %.500s\nwant %.500s", got[1], payload)
	}
}

// TestPythonSubscribers sends to the plugin README's own loop what was recorded
// from the plugin, as far as it can be sent, and what is odd.
func TestPythonSubscribers(t *testing.T) {
	server := testserver.Redis(t, testserver.RedisOptions{})
	python := startPython(t, server)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), PoolSize: 100})
	r := &rig{t: t, client: client, raw: client.PSubscribe(t.Context(), "*"), buses: map[plugin]*tracbus.Bus{}}
	_, err := r.raw.Receive(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, bus := range r.buses {
			assert.NoError(t, bus.Close(context.Background()))
		}
		assert.NoError(t, r.raw.Close())
		assert.NoError(t, client.Close())
	})

	recorded := 0
	for _, v := range vectorsOf(t, "testdata/vectors.jsonl") {
		normalised, refused := false, false
		for _, d := range deviations {
			if d.has(v) {
				normalised, refused = true, refused || d.refused != ""
			}
		}
		if refused {
			continue
		}
		recorded++
		t.Run(fmt.Sprintf("%s/%d", v.ID, v.Step), func(t *testing.T) {
			_, err := r.publish(v.plugin(), v.event(t))
			require.NoError(t, err)
			python.receives(t, v.Channel, v.Data, normalised)
		})
	}
	for _, e := range sixEvents() {
		t.Run("odd "+string(e.Resource().Realm)+" "+string(e.Kind()), func(t *testing.T) {
			sent, err := r.publish(plugin{prefix: "trac", env: "test"}, e)
			require.NoError(t, err)
			python.receives(t, sent.Channel, sent.Payload, false)
		})
	}
	t.Logf("%d recorded messages were sent and received", recorded)

	publish(t, client, "end", "")
	assert.False(t, python.lines.Scan(), "one message too many: %s", python.lines.Text())
	assert.NoError(t, python.cmd.Wait(), "%s", &python.errs)
}
