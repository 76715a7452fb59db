// Package redisconn is how the library uses a Redis client that an application
// lends it. Its one secret is how to learn that a connection broke, which go-redis
// repairs in silence, or that it leads to a server at which nobody publishes any
// more. A [Router] makes connections with the client's settings, which are never
// replaced unnoticed, and has each of them watched; [Listen] uses
// them, and so do publishers and who reads a stream.
package redisconn

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Check says what is wrong with a client that is nil, or of a kind that cannot
// serve.
func Check(client redis.UniversalClient) error {
	switch client {
	case nil, (*redis.Client)(nil), (*redis.ClusterClient)(nil):
		return errors.New("needs a Redis client, got nil")
	}
	switch client.(type) {
	case *redis.Client, *redis.ClusterClient:
		return nil
	}
	return fmt.Errorf("needs a *redis.Client or *redis.ClusterClient, got %T", client)
}

// IsReply says whether err is an answer of Redis, rather than a failure to get
// one, and begins with one of the words, if any are given.
func IsReply(err error, words ...string) bool {
	if err == nil { // as most often: what errors.As fills in is on the heap
		return false
	}
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	return len(words) == 0 || slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(reply.Error(), w) })
}

// NoRetry returns a command that go-redis does not repeat by itself, neither
// alone nor in a pipeline. The answer is found in cmd.
func NoRetry(cmd redis.Cmder) redis.Cmder { return once{cmd} }

// once is a command with one method of its own.
type once struct{ redis.Cmder }

// NoRetry overrides go-redis's default.
func (once) NoRetry() bool { return true }
