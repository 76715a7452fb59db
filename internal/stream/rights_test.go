package stream_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus/internal/stream"
	"github.com/tracbus/tracbus/internal/stream/streamtest"
	"github.com/tracbus/tracbus/internal/testserver"
)

// A reader who may not ask which server it is at says so before it reads, and reads.
func TestReadWithoutTheRightToSeeTheServer(t *testing.T) {
	server := testserver.Redis(t, testserver.RedisOptions{Users: []testserver.RedisUser{
		{Name: "some", Password: "p", Rules: "~" + streamtest.Key + " +xread +xinfo"},
		{Name: "more", Password: "p", Rules: "~" + streamtest.Key + " +xread +xinfo +info"},
	}})
	for _, name := range []string{"some", "more"} {
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: name, Password: "p"})
		t.Cleanup(func() { _ = client.Close() })
		l := read(t, client, stream.Config{}, "0", forever)
		first := l.Next()
		if name == "some" {
			assert.True(t, first.Refused)
			assert.ErrorContains(t, first.Err, "expected the right +info: NOPERM")
			first = l.Next()
		}
		assert.NotNil(t, first.Gap, "%s: %v", name, first)
	}
}
