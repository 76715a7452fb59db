package redisconn

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// NewSentinelClient makes a client of Sentinels, whose errors name the master and
// the Sentinels that were asked for it. Its own connections are made as go-redis
// does; a [Router] is told its settings, and asks all of the Sentinels.
func NewSentinelClient(o *redis.FailoverOptions) *redis.Client {
	client := redis.NewFailoverClient(o)
	dial := client.Options().Dialer
	settings := &sentinelSettings{FailoverOptions: *o}
	settings.DialTimeout, settings.ReadTimeout, settings.WriteTimeout = client.Options().DialTimeout, client.Options().ReadTimeout, client.Options().WriteTimeout
	client.Options().Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if place, wanted := ctx.Value(settingsKey{}).(*atomic.Pointer[sentinelSettings]); wanted && o.Dialer != nil {
			place.Store(settings)
			return nil, errTold
		}
		conn, err := dial(ctx, network, addr)
		if err != nil && strings.HasPrefix(err.Error(), noSentinel) {
			err = &SentinelError{o.MasterName, o.SentinelAddrs, err}
		}
		return conn, err
	}
	return client
}

// sentinelSettings are a client's, and the Sentinels that were found besides those
// that are configured.
type sentinelSettings struct {
	redis.FailoverOptions
	found members
}

// settingsKey is the key of a place in a context where a client of Sentinels writes
// its settings, in place of connecting. One that the application made connects.
type settingsKey struct{}

// errTold is what a dialer returns that has written its settings.
var errTold = errors.New("asked for the Sentinels, and not to connect")

// A SentinelError says that none of the Sentinels named the master. The answers
// of the Sentinels are not found in it by [errors.As], because they would be
// taken for answers of the server.
type SentinelError struct {
	Master    string
	Sentinels []string
	Err       error // go-redis's, with a line for each of them
}

// Error names all that was asked for, in one line.
func (e *SentinelError) Error() string {
	asked := strings.Join(e.Sentinels, ", ")
	answers := answersOf(e.Err)
	if slices.Contains(answers, "redis: nil") {
		return "the Sentinels at " + asked + " do not know the master " + strconv.Quote(e.Master)
	}
	return "no Sentinel at " + asked + " names the master " + strconv.Quote(e.Master) + ": " + strings.Join(answers, "; ")
}

// noSentinel begins go-redis's error.
const noSentinel = "redis: all sentinels specified in configuration are unreachable"

// answersOf returns the different lines of go-redis's error.
func answersOf(err error) []string {
	_, text, _ := strings.Cut(err.Error(), noSentinel)
	answers := strings.Split(strings.TrimPrefix(text, ": "), "\n")
	slices.Sort(answers)
	return slices.Compact(answers)
}

// sentinelWords says what is wrong with Sentinels.
func sentinelWords(err error) string {
	if !strings.Contains(err.Error(), noSentinel) && !errors.As(err, new(*SentinelError)) {
		return ""
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "redis: nil"), strings.Contains(text, "do not know the master"):
		return `expected in master_name the name that "sentinel monitor" has in their configuration`
	case strings.Contains(text, "NOAUTH"), strings.Contains(text, "WRONGPASS"), strings.Contains(text, "ERR invalid password"):
		return "expected the Sentinels' own in options sentinel_username and sentinel_password"
	case strings.Contains(text, "without any password configured"), strings.Contains(text, "no password is set"):
		return "the Sentinels have no password: expected none in option sentinel_password"
	case strings.Contains(text, "NOPERM"):
		return "the Sentinels' user lacks a right (docs/redis.md)"
	case strings.Contains(text, "unknown command"):
		return "what answers is no Sentinel: expected the Sentinels in sentinel_addrs (their port is 26379 as a rule)"
	}
	return nobodyNames
}

// nobodyNames is said of Sentinels that do not answer.
const nobodyNames = "expected one of the Sentinels in sentinel_addrs to answer"
