package redistrial

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// ErrNotTried wraps why something could not be tried, which says nothing about it.
var ErrNotTried = errors.New("not tried")

// Reconnect kills the connections of a publisher and of a subscriber, and then publishes on.
// They have a name of their own, so that nobody else's are killed.
func (t Trial) Reconnect(ctx context.Context) error {
	client, err := t.named()
	if err != nil {
		return err
	}
	defer client.Close()
	ear, err := t.listen(ctx, client)
	if err != nil {
		return fmt.Errorf("%w: with CLIENT SETNAME: %w", ErrNotTried, err)
	}
	defer ear.stop()
	voice := t.speak(client)
	err = errors.Join(voice.say(ctx, 0, 10), ear.hears(ctx, 0, 10))
	if err == nil {
		err = t.kill(ctx)
	}
	if err == nil {
		if err = ear.resync(ctx, "reconnected"); err != nil {
			err = fmt.Errorf("after the connections were killed, no Resync: %w", err)
		}
	}
	if err == nil {
		if err = errors.Join(voice.say(ctx, 10, 20), ear.hears(ctx, 10, 20)); err != nil {
			err = fmt.Errorf("after the connections were killed: %w", err)
		}
	}
	return errors.Join(voice.explained(err), voice.end(ctx))
}

// named returns a client like the one that was given, whose connections have the trial's name.
func (t Trial) named() (redis.UniversalClient, error) {
	switch client := t.Client.(type) {
	case *redis.Client:
		if client.Options().Addr == "FailoverClient" {
			return nil, fmt.Errorf("%w: a client of Sentinels cannot be copied under another name", ErrNotTried)
		}
		options := *client.Options()
		options.ClientName = t.ID
		return redis.NewClient(&options), nil
	case *redis.ClusterClient:
		options := *client.Options()
		options.ClientName = t.ID
		return redis.NewClusterClient(&options), nil
	}
	return nil, fmt.Errorf("%w: a client of type %T", ErrNotTried, t.Client)
}

// kill kills the connections with the trial's name.
func (t Trial) kill(ctx context.Context) error {
	var mu sync.Mutex
	killed := 0
	at := func(ctx context.Context, node *redis.Client) error {
		list, err := node.ClientList(ctx).Result()
		if err != nil {
			return fmt.Errorf("%w: CLIENT LIST: %w", ErrNotTried, err)
		}
		for line := range strings.Lines(list) {
			fields := strings.Fields(line)
			if len(fields) == 0 || !strings.Contains(line, " name="+t.ID+" ") {
				continue
			}
			if err := node.ClientKillByFilter(ctx, "ID", strings.TrimPrefix(fields[0], "id=")).Err(); err != nil {
				return fmt.Errorf("%w: CLIENT KILL: %w", ErrNotTried, err)
			}
			mu.Lock()
			killed++
			mu.Unlock()
		}
		return nil
	}
	var err error
	switch client := t.Client.(type) {
	case *redis.ClusterClient:
		err = client.ForEachShard(ctx, at)
	case *redis.Client:
		err = at(ctx, client)
	}
	if err == nil && killed < 2 {
		err = fmt.Errorf("%w: CLIENT LIST shows %d connections of the name %s, expected 2 at least", ErrNotTried, killed, t.ID)
	}
	return err
}

// Evicts returns Redis's maxmemory-policy if it may evict the key under which Redis keeps how
// far a consumer has come.
func (t Trial) Evicts(ctx context.Context) (policy string, err error) {
	info, err := t.Client.Info(ctx, "memory").Result()
	if err != nil {
		return "", fmt.Errorf("%w: INFO memory: %w", ErrNotTried, err)
	}
	for line := range strings.Lines(info) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:"); ok && strings.HasPrefix(p, "allkeys-") {
			return p, nil
		}
	}
	return "", nil
}
