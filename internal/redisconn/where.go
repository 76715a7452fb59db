package redisconn

import (
	"context"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// whereTo returns to what the dialer of a client connects now. The application may
// have made it, so that there is no other way to learn it than to connect.
func whereTo(ctx context.Context, o *redis.Options) (string, error) {
	conn, err := dial(ctx, o)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return remoteOf(conn), nil
}

// dialledKey is the key of a place in a context where a [Dialer] writes to which
// address it connects.
type dialledKey struct{}

// note writes it.
func note(ctx context.Context, addr string) {
	if dialled, wanted := ctx.Value(dialledKey{}).(*atomic.Pointer[string]); wanted {
		dialled.Store(&addr)
	}
}
