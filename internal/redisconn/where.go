package redisconn

import (
	"context"
	"errors"
	"sync/atomic"
)

// whereKey is the key of a question in a context, which a [Dialer] answers in
// place of a connection.
type whereKey struct{}

// errAnswered is what a dialer returns that answered.
var errAnswered = errors.New("asked where to connect, and not to connect")

// Where returns the address to which a client's dialer would connect now: for a
// client of Sentinels, the one that they name. If known is false, the dialer does
// not understand the question, because the application made it. Then it has
// connected; the connection was closed, and addr is what was at its other end.
func Where(ctx context.Context, dial dialer, network, addr string) (at string, known bool, err error) {
	var named atomic.Pointer[string]
	conn, err := dial(context.WithValue(ctx, whereKey{}, &named), network, addr)
	switch {
	case errors.Is(err, errAnswered):
		return *named.Load(), true, nil
	case err != nil:
		return "", false, err
	}
	defer conn.Close()
	return remoteOf(conn), false, nil
}

// answer says whether a dialer was only asked where it would connect, and
// answers. While a client asks its Sentinels, it may connect to one of them with
// the same context. So the last answer counts, and an answer about a Sentinel
// costs no more than a second try to subscribe there.
func answer(ctx context.Context, addr string) bool {
	named, asked := ctx.Value(whereKey{}).(*atomic.Pointer[string])
	if asked {
		named.Store(&addr)
	}
	return asked
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
