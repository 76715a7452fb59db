package redisconn

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// links watches over which connections a node of a cluster hears the others. A
// message that is published at another node is lost if that connection breaks, or is
// not there: Redis tells nobody. It asks once a second, over a connection of its own.
type links struct {
	o     *redis.Options
	conn  *Conn
	known map[string]int64 // when each node's connection was made; nil before the first look
}

// lookAtLinks is how often that is.
const lookAtLinks = time.Second

// changed looks, and says whether messages may have been lost since it last did. A
// refusal of the server is an error; if it does not answer or refuses, the next look
// tells.
func (l *links) changed(ctx context.Context) (bool, error) {
	now, err := l.look(ctx)
	if err != nil {
		if l.known == nil {
			l.known = map[string]int64{} // and all that come are new
		}
		if IsReply(err) {
			return false, err
		}
		return false, nil
	}
	changed := l.known != nil && !maps.Equal(now, l.known)
	l.known = now
	return changed, nil
}

// look returns when each connection was made on which the node hears another one.
func (l *links) look(ctx context.Context) (map[string]int64, error) {
	if l.conn == nil {
		conn, err := open(ctx, ctx, l.o, Settings{})
		if err != nil {
			return nil, err
		}
		l.conn = conn
	}
	asking, cancel := context.WithTimeout(ctx, max(l.o.ReadTimeout, lookAtLinks))
	defer cancel()
	answer, err := l.conn.client.Do(asking, "cluster", "links").Slice()
	if err != nil {
		if !IsReply(err) {
			l.close()
		}
		return nil, err
	}
	made := map[string]int64{}
	for _, one := range answer {
		link := Pairs(one)
		node, _ := link["node"].(string)
		at, ok := link["create-time"].(int64)
		if link["direction"] == "from" && ok {
			made[node] = at
		}
	}
	return made, nil
}

// cannotTell says whether a refusal is for good: the user may not ask, or the server is too
// old. Other ones end, as that of a server which takes no more connections.
func cannotTell(err error) bool {
	return IsReply(err, "NOPERM") || IsReply(err) && strings.Contains(strings.ToLower(err.Error()), "unknown")
}

func unwatchedLinks(err error) *UnwatchedError {
	return &UnwatchedError{"a message that another node of the cluster passes on may be lost unnoticed: expected Redis 7 and the right +cluster|links", err}
}

// close ends the connection.
func (l *links) close() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}

// An UnwatchedError says that messages may be lost without a word.
type UnwatchedError struct {
	What string // with what would be needed
	Err  error
}

// Error implements error.
func (e *UnwatchedError) Error() string {
	return fmt.Sprintf("%s: %v", e.What, e.Err)
}

// Unwrap returns Redis's answer.
func (e *UnwatchedError) Unwrap() error { return e.Err }
