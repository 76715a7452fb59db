package redisconn

import (
	"context"
	"errors"
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
	conn, err := dial(context.WithValue(ctx, whereKey{}, &at), network, addr)
	switch {
	case errors.Is(err, errAnswered):
		return at, true, nil
	case err != nil:
		return "", false, err
	}
	defer conn.Close()
	return conn.RemoteAddr().String(), false, nil
}

// answer says whether a dialer was only asked where it would connect, and
// answers. While a client asks its Sentinels, it may connect to one of them with
// the same context. So the last answer counts, and an answer about a Sentinel
// costs no more than a second try to subscribe there.
func answer(ctx context.Context, addr string) bool {
	at, asked := ctx.Value(whereKey{}).(*string)
	if asked {
		*at = addr
	}
	return asked
}
