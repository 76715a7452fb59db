package redisconn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// sentinels asks all Sentinels of a client which server is the master: those that
// are configured, and those that they name. go-redis asks one of them, until it
// fails; but that one may stand still, or be cut off together with an old master.
// It is not for concurrent use.
type sentinels struct {
	o      *sentinelSettings
	ctx    context.Context
	cancel context.CancelFunc
	asking sync.WaitGroup
	asked  int                      // times
	seats  map[string]*sentinelSeat // by address
}

const (
	// discoverEvery questions the Sentinels are asked for others, too.
	discoverEvery = 10

	// maxFound is how many others are asked: a Sentinel may name any number.
	maxFound = 20
)

// sentinelSeat is a connection to a Sentinel.
type sentinelSeat struct {
	mu      sync.Mutex // held while it is asked
	conn    *Conn
	noEpoch bool // the user may not ask for it
}

// testimony is a Sentinel's answer.
type testimony struct {
	remote string
	master string
	epoch  int64 // of its configuration; -1: not known
	others []string
	err    error
}

// newSentinels returns one that lasts until it is closed or ctx ends.
func newSentinels(ctx context.Context, o *sentinelSettings) *sentinels {
	s := &sentinels{o: o, seats: map[string]*sentinelSeat{}}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s
}

// close ends all connections, and waits for who is being asked.
func (s *sentinels) close() {
	s.cancel()
	s.asking.Wait()
	for _, seat := range s.seats {
		seat.leave()
	}
}

// known returns the addresses of all.
func (s *sentinels) known() []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(s.o.SentinelAddrs, s.o.found.list()))))
}

// ask returns the master's address. sure says that no majority of the Sentinels
// knows better, or that it is of a later configuration than what some say.
func (s *sentinels) ask(ctx context.Context) (master string, sure bool, err error) {
	discover := s.asked%discoverEvery == 0
	s.asked++
	all := s.known()
	heard, err := s.hear(ctx, all, discover, nil)
	if err != nil {
		return "", false, err
	}
	if discover {
		s.learn(heard)
	}
	if more := slices.DeleteFunc(s.known(), func(addr string) bool { return slices.Contains(all, addr) }); len(more) > 0 {
		if others, err := s.hear(ctx, more, false, time.After(patience)); err == nil { // one that is gone may be named for years
			heard = append(heard, others...)
		}
	}
	return s.verdict(heard)
}

// towards returns a client's settings for a connection to the server at addr.
func (s *sentinels) towards(o *redis.Options, addr string) *redis.Options {
	there := *o
	there.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) { return s.o.Dialer(ctx, network, addr) }
	return &there
}

// hear asks Sentinels at once, and waits for the others while patience lasts, after
// one has answered; or until late.
func (s *sentinels) hear(ctx context.Context, addrs []string, discover bool, late <-chan time.Time) ([]testimony, error) {
	answers := make(chan testimony, len(addrs))
	asked := 0
	for _, addr := range addrs {
		seat := s.seats[addr]
		if seat == nil {
			seat = &sentinelSeat{}
			s.seats[addr] = seat
		}
		if seat.mu.TryLock() { // else it still owes the last answer
			asked++
			s.asking.Go(func() {
				defer seat.mu.Unlock()
				answers <- seat.ask(s, addr, discover)
			})
		}
	}
	if asked == 0 {
		return nil, s.none([]testimony{{err: errOwing}})
	}
	var heard []testimony
	for len(heard) < asked {
		select {
		case t := <-answers:
			heard = append(heard, t)
			if t.err == nil && late == nil {
				late = time.After(patience)
			}
		case <-late:
			return heard, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return heard, nil
}

// errOwing is what Sentinels mean that have not answered the last question yet.
var errOwing = errors.New("no answer")

// none is the error of nobody's answer.
func (s *sentinels) none(heard []testimony) error {
	var errs []error
	for _, t := range heard {
		errs = append(errs, t.err)
	}
	return &SentinelError{s.o.MasterName, s.o.SentinelAddrs, fmt.Errorf("%s: %w", noSentinel, errors.Join(errs...))}
}

// verdict weighs what was heard. A later configuration is right, because only a
// majority of the Sentinels makes one.
func (s *sentinels) verdict(heard []testimony) (master string, sure bool, err error) {
	votes := map[string]int{}
	latest, first, answered, epochs := int64(0), int64(0), 0, true
	for _, t := range heard {
		if t.err != nil {
			continue
		}
		if epochs = epochs && t.epoch >= 0; answered == 0 {
			latest, first = t.epoch, t.epoch
		}
		answered++
		latest, first = max(latest, t.epoch), min(first, t.epoch)
	}
	if answered == 0 {
		return "", false, s.none(heard)
	}
	for _, t := range heard {
		if t.err == nil && (!epochs || t.epoch == latest) {
			votes[t.master]++
		}
	}
	for addr, n := range votes { // in any order, so that the next try may decide a draw differently
		if n > votes[master] {
			master = addr
		}
	}
	return master, 2*votes[master] > len(s.known()) || epochs && first < latest && len(votes) == 1, nil
}

// learn notes the Sentinels that others name, for all users of the client, and
// forgets those that nobody names any more. By a configured name and by its address
// a Sentinel is one.
func (s *sentinels) learn(heard []testimony) {
	named, remote := map[string]bool{}, map[string]bool{}
	for _, t := range heard {
		remote[t.remote] = true
		for _, addr := range t.others {
			named[addr] = true
		}
	}
	if len(named) == 0 { // the user may not ask, or it is the only one
		return
	}
	maps.DeleteFunc(named, func(addr string, _ bool) bool {
		return slices.Contains(s.o.SentinelAddrs, addr) || remote[addr] && s.seats[addr] == nil
	})
	for i, addr := range slices.Sorted(maps.Keys(named)) {
		if i >= maxFound {
			delete(named, addr)
		}
	}
	s.o.found.become(named)
	known := s.known()
	maps.DeleteFunc(s.seats, func(addr string, seat *sentinelSeat) bool {
		if slices.Contains(known, addr) || !seat.mu.TryLock() {
			return false
		}
		defer seat.mu.Unlock()
		seat.leave()
		return true
	})
}

// ask asks a Sentinel, over the connection of the last time if it still stands.
func (seat *sentinelSeat) ask(s *sentinels, addr string, discover bool) testimony {
	t := testimony{epoch: -1}
	ctx, cancel := context.WithTimeout(s.ctx, s.o.DialTimeout)
	defer cancel()
	if seat.conn == nil {
		seat.conn, t.err = open(ctx, s.ctx, &redis.Options{
			Network: "tcp", Addr: addr, Dialer: s.o.Dialer, Username: s.o.SentinelUsername, Password: s.o.SentinelPassword,
			DialTimeout: s.o.DialTimeout, ReadTimeout: s.o.ReadTimeout, WriteTimeout: s.o.WriteTimeout,
		}, Settings{})
		if t.err != nil {
			return t
		}
	}
	t.remote = seat.conn.place.Remote
	pipe := seat.conn.client.Pipeline()
	name := redis.NewStringSliceCmd(ctx, "sentinel", "get-master-addr-by-name", s.o.MasterName)
	state := redis.NewMapStringStringCmd(ctx, "sentinel", "master", s.o.MasterName)
	others := redis.NewMapStringStringSliceCmd(ctx, "sentinel", "sentinels", s.o.MasterName)
	_ = pipe.Process(ctx, NoRetry(name))
	if !seat.noEpoch {
		_ = pipe.Process(ctx, NoRetry(state))
	}
	if discover {
		_ = pipe.Process(ctx, NoRetry(others))
	}
	_, err := pipe.Exec(ctx)
	if err != nil && (!IsReply(err) || name.Err() == nil && name.Val() == nil) { // or it was not let in
		seat.leave()
		t.err = err
		return t
	}
	at, err := name.Result()
	switch {
	case err != nil:
		t.err = err
		if !errors.Is(err, redis.Nil) { // another connection may be let in
			seat.leave()
		}
		return t
	case len(at) != 2:
		t.err = fmt.Errorf("SENTINEL GET-MASTER-ADDR-BY-NAME: got %d texts, expected host and port", len(at))
		return t
	}
	t.master = net.JoinHostPort(at[0], at[1])
	if !seat.noEpoch {
		seat.noEpoch = IsReply(state.Err(), "NOPERM")
		if epoch, err := strconv.ParseInt(state.Val()["config-epoch"], 10, 64); err == nil {
			t.epoch = epoch
		}
	}
	for _, other := range others.Val() {
		if other["ip"] != "" && other["port"] != "" {
			t.others = append(t.others, net.JoinHostPort(other["ip"], other["port"]))
		}
	}
	return t
}

// leave closes the connection.
func (seat *sentinelSeat) leave() {
	if seat.conn != nil {
		seat.conn.Close()
		seat.conn = nil
	}
}
