package main

import (
	"hash/maphash"
	"sync"
	"time"
)

// signIns makes those wait who try to sign in again and again: whoever tries the name from
// an address, whoever tries the name from many, and whoever tries from an address. Each
// process counts what it sees.
type signIns struct {
	mu        sync.Mutex
	pairs     throttle // of a name and an address
	names     throttle
	addresses throttle
}

func newSignIns() *signIns {
	return &signIns{
		pairs:     newThrottle(5, 30*time.Second),
		names:     newThrottle(100, 30*time.Second), // not long: the name's owner waits with those who guess from many addresses
		addresses: newThrottle(20, 5*time.Minute),
	}
}

// begin counts an attempt, until it is known to be a good one. If it has to wait, it is
// none: begin returns how long, and counts nothing. Without a name, as for a new account,
// only the address counts.
func (s *signIns) begin(name, address string) (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var counted []*attempts
	for _, c := range s.counts(name, address) {
		a := c.in.of(c.key)
		wait = max(wait, time.Until(a.until))
		counted = append(counted, a)
	}
	if wait > 0 {
		return wait
	}
	for i, c := range s.counts(name, address) {
		c.in.add(counted[i])
	}
	return 0
}

// succeed takes back an attempt that was a good one. The address keeps its others, because
// who has one password may be guessing another, and so does the name, because others may be
// guessing it.
func (s *signIns) succeed(name, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.counts(name, address) {
		a := c.in.of(c.key)
		if c.in == &s.pairs {
			*a = attempts{}
		} else if a.n > 0 {
			a.n, a.until = a.n-1, time.Time{}
		}
	}
}

// count is where an attempt is counted.
type count struct {
	in  *throttle
	key string
}

// counts returns where an attempt is counted.
func (s *signIns) counts(name, address string) []count {
	if name == "" {
		return []count{{&s.addresses, address}}
	}
	return []count{{&s.pairs, name + "\n" + address}, {&s.names, name}, {&s.addresses, address}}
}

// throttle counts attempts by keys. Its table does not grow, and which keys share a
// place in it nobody can know: a flood of keys neither takes memory nor has any other
// key forgotten.
type throttle struct {
	free  int           // attempts without a wait
	first time.Duration // the wait after them, which doubles with each attempt
	most  time.Duration // to which it grows
	seed  maphash.Seed
	table []attempts
}

// attempts are those of the keys at one place of the table.
type attempts struct {
	n     int
	last  time.Time
	until time.Time // the next one has to wait
}

const (
	throttlePlaces = 1 << 14
	throttleCalm   = time.Hour // after which attempts are forgotten
)

func newThrottle(free int, most time.Duration) throttle {
	return throttle{free: free, first: time.Second, most: most, seed: maphash.MakeSeed(), table: make([]attempts, throttlePlaces)}
}

// of returns the attempts of a key.
func (t *throttle) of(key string) *attempts {
	a := &t.table[maphash.String(t.seed, key)%uint64(len(t.table))]
	if time.Since(a.last) > throttleCalm {
		*a = attempts{}
	}
	return a
}

// add counts an attempt.
func (t *throttle) add(a *attempts) {
	a.n++
	a.last = time.Now()
	if over := a.n - t.free; over > 0 {
		wait := t.first
		for ; over > 1 && wait < t.most; over-- {
			wait *= 2
		}
		a.until = a.last.Add(min(wait, t.most))
	}
}
