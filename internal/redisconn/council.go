package redisconn

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn/quorum"
)

const (
	// seats is how many nodes of a cluster are asked at once. A majority of five
	// is right while one is dead and another one has not heard yet.
	seats = 5

	// patience is how long they are waited for if one has answered, and until others are
	// asked if none has. A node that stands does not hold the others' answer up.
	patience = 700 * time.Millisecond
)

// council asks several nodes of a cluster which of them has a slot. go-redis
// remembers what one of them said up to a minute ago. It has a connection to each,
// and asks with CLUSTER SLOTS, as go-redis does. It is not for concurrent use.
type council struct {
	cluster   *redis.ClusterClient
	slot      int
	members   *members
	ctx       context.Context
	cancel    context.CancelFunc
	asking    sync.WaitGroup
	seats     map[string]*seat // by address
	telling   chan opinion     // what the application's own function still owes
	recalling <-chan []string  // what the client itself still owes
}

// members are the addresses of the nodes that a cluster is known to have.
type members struct {
	mu    sync.Mutex
	addrs []string
}

// list returns them.
func (m *members) list() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.addrs)
}

// become notes them, in any order, so that not everybody asks the same ones of a
// large cluster. It returns false if nothing is new.
func (m *members) become(now map[string]bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(now) == len(m.addrs) && !slices.ContainsFunc(m.addrs, func(addr string) bool { return !now[addr] }) {
		return false
	}
	m.addrs = slices.Collect(maps.Keys(now))
	rand.Shuffle(len(m.addrs), func(i, j int) { m.addrs[i], m.addrs[j] = m.addrs[j], m.addrs[i] })
	return true
}

// seat is a connection to a node that is asked.
type seat struct {
	addr   string
	silent atomic.Bool // it did not answer the last time
	mu     sync.Mutex  // held while it is asked; guards conn
	conn   *Conn
}

// opinion is a node's answer.
type opinion struct {
	by    string
	slots []redis.ClusterSlot
	err   error
}

// newCouncil returns one that lasts until it is closed or ctx ends.
func newCouncil(ctx context.Context, cluster *redis.ClusterClient, key string, known *members) *council {
	c := &council{cluster: cluster, slot: quorum.SlotOf(key), members: known, seats: map[string]*seat{}}
	c.ctx, c.cancel = context.WithCancel(ctx)
	return c
}

// close ends the council, and waits for who is being asked.
func (c *council) close() {
	c.cancel()
	c.asking.Wait()
	if c.telling != nil { // it may be one that does not end with its context
		select {
		case <-c.telling:
		case <-time.After(patience):
		}
	}
	for _, s := range c.seats {
		s.leave()
	}
}

// ask returns who has the slot. before is the node that had it when it was asked
// last, or zero.
func (c *council) ask(ctx context.Context, before quorum.Node) (quorum.Verdict, error) {
	if own := c.cluster.Options().ClusterSlots; own != nil {
		return c.told(ctx, own)
	}
	first := c.choose(before)
	q := &inquiry{council: c, count: quorum.Tally{Before: before}, answers: make(chan opinion, maxAsked)}
	return q.run(ctx, first)
}

// told asks the application's own function, for a cluster that it made up. It is not
// called again before it has returned, and not waited for longer than for a node.
func (c *council) told(ctx context.Context, slots func(context.Context) ([]redis.ClusterSlot, error)) (quorum.Verdict, error) {
	if c.telling == nil {
		answer := make(chan opinion, 1)
		c.telling = answer
		go func() {
			all, err := slots(c.ctx)
			answer <- opinion{slots: all, err: err}
		}()
	}
	bounded, cancel := within(ctx, c.cluster.Options().DialTimeout)
	defer cancel()
	select {
	case o := <-c.telling:
		c.telling = nil
		if o.err != nil {
			return quorum.Verdict{}, o.err
		}
		owner, err := quorum.OwnerIn(o.slots, c.slot, o.by)
		return quorum.Verdict{Owner: owner, Sure: true}, err
	case <-bounded.Done():
		return quorum.Verdict{}, fmt.Errorf("no answer of ClusterSlots: %w", bounded.Err())
	}
}

// all returns the addresses of all nodes that are known, at last those that the
// application named.
func (c *council) all() []string {
	all := c.members.list()
	for _, addr := range c.cluster.Options().Addrs {
		if !slices.Contains(all, addr) {
			all = append(all, addr)
		}
	}
	return all
}

// choose returns whom to ask: the node that had the slot, and others, at last those
// that did not answer the last time. If some are
// known by the names that they call each other, the application's names would only
// count one of them twice.
func (c *council) choose(before quorum.Node) []string {
	chosen := c.members.list()
	if len(chosen) == 0 {
		chosen = slices.Clone(c.cluster.Options().Addrs)
	}
	rank := func(addr string) int {
		switch s := c.seats[addr]; {
		case addr == before.Addr:
			return 0
		case s == nil || !s.silent.Load():
			return 1
		}
		return 2
	}
	slices.SortStableFunc(chosen, func(a, b string) int { return rank(a) - rank(b) })
	return chosen[:min(len(chosen), seats)]
}

// learn notes the nodes that an answer names.
func (c *council) learn(o opinion) {
	now := map[string]bool{}
	for _, s := range o.slots {
		for _, n := range s.Nodes {
			now[quorum.Named(n, o.by).Addr] = true
		}
	}
	if !c.members.become(now) {
		return
	}
	for addr, s := range c.seats { // of those that are gone
		if !now[addr] && s.mu.TryLock() {
			s.leave()
			s.mu.Unlock()
			delete(c.seats, addr)
		}
	}
}

func (c *council) seat(addr string) *seat {
	s := c.seats[addr]
	if s == nil {
		s = &seat{addr: addr}
		c.seats[addr] = s
	}
	return s
}

// ask asks the node, over the connection of the last time if it still stands.
func (s *seat) ask(c *council) ([]redis.ClusterSlot, error) {
	ctx, cancel := within(c.ctx, c.cluster.Options().DialTimeout)
	defer cancel()
	if s.conn == nil {
		conn, err := open(ctx, c.ctx, optionsOf(c.cluster, quorum.Node{Addr: s.addr, Said: s.addr}), Settings{})
		if err != nil {
			return nil, err
		}
		s.conn = conn
	}
	slots, err := s.conn.client.ClusterSlots(ctx).Result() //lint:ignore SA1019 CLUSTER SHARDS needs Redis 7
	if err != nil && !IsReply(err) {
		s.leave()
	}
	return slots, err
}

// leave closes the connection.
func (s *seat) leave() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}
