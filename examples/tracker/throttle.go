package main

import (
	"hash/maphash"
	"sync"
	"time"
)

// signIns makes those wait who try to sign in again and again: whoever tries the name,
// and whoever tries from an address. Each process counts what it sees.
type signIns struct {
	mu        sync.Mutex
	names     throttle
	addresses throttle
}

func newSignIns() *signIns {
	return &signIns{
		names:     newThrottle(5, 30*time.Second), // not long: the name's owner waits with whoever guesses
		addresses: newThrottle(20, 5*time.Minute),
	}
}

// begin counts an attempt, until it is known to be a good one. If it has to wait, it is
// none: begin returns how long, and counts nothing.
func (s *signIns) begin(name, address string) (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, a := s.names.of(name), s.addresses.of(address)
	if wait := max(time.Until(n.until), time.Until(a.until)); wait > 0 {
		return wait
	}
	s.names.add(n)
	s.addresses.add(a)
	return 0
}

// succeed takes back an attempt that was a good one. The address keeps its others: who
// has one password may be guessing another.
func (s *signIns) succeed(name, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*s.names.of(name) = attempts{}
	if a := s.addresses.of(address); a.n > 0 {
		a.n, a.until = a.n-1, time.Time{}
	}
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
