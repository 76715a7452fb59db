package redisconn

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn/guard"
	"github.com/tracbus/tracbus/internal/redisconn/words"
)

// Explain returns the error of a client, or of a connection like the client's, in
// one line without its passwords, with words that say what it means and what to
// do. It is the one way by which such errors come to logs, tables and callers.
// What is found in it by [errors.Is] and [errors.As] stays. An error that was
// explained stays as it is.
func Explain(err error, client redis.UniversalClient) error {
	if err == nil || errors.As(err, new(*explained)) {
		return err
	}
	clean := guard.NewSecrets(passwords(client)...).HideError(err)
	text := oneLine(clean.Error())
	if more := wordsFor(clean, client); more != "" && !strings.Contains(text, ": expected ") { // else it has some
		text += ": " + more
	}
	if text == err.Error() {
		return err
	}
	return &explained{clean, text}
}

// Explain explains an error of a connection of the router's.
func (r *Router) Explain(err error) error { return Explain(err, r.client) }

// explained is an error with words.
type explained struct {
	err  error
	text string
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// oneLine puts lines beside each other.
func oneLine(text string) string {
	if !strings.ContainsAny(text, "\r\n") {
		return text
	}
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

func kindOf(client redis.UniversalClient) words.Kind {
	switch c := client.(type) {
	case *redis.ClusterClient:
		return words.Cluster
	case *redis.Client:
		if c != nil && c.Options().Addr == failoverAddr {
			return words.ThroughSentinels
		}
	}
	return words.OneServer
}

// failoverAddr is what go-redis has as the address of a client of Sentinels.
const failoverAddr = "FailoverClient"

// passwords returns those that a client's options hold. What a provider of
// credentials may return is not known.
func passwords(client redis.UniversalClient) []string {
	switch c := client.(type) {
	case *redis.ClusterClient:
		if c != nil {
			return []string{c.Options().Password}
		}
	case *redis.Client:
		if c != nil {
			return []string{c.Options().Password}
		}
	}
	return nil
}

// encrypts says whether a client uses TLS, as far as its options tell.
func encrypts(client redis.UniversalClient) bool {
	switch c := client.(type) {
	case *redis.ClusterClient:
		return c != nil && c.Options().TLSConfig != nil
	case *redis.Client:
		return c != nil && c.Options().TLSConfig != nil
	}
	return false
}

// wordsFor says what an error means to a client, or "".
func wordsFor(err error, client redis.UniversalClient) string {
	if about := sentinelWords(err); about != "" {
		return about
	}
	if reply, ok := errors.AsType[redis.Error](err); ok {
		return words.Reply(reply.Error(), kindOf(client))
	}
	return words.Connect(err, encrypts(client), errors.As(err, new(*handshakeError)))
}
