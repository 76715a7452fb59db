package main

import (
	"net/netip"
	"sync"
)

// watching counts the browsers that watch, so that no address takes the streams of all.
type watching struct {
	mu   sync.Mutex
	all  int
	from map[string]int // by address, and by the wider network of IPv6
}

func newWatching() *watching { return &watching{from: map[string]int{}} }

// enter counts one more, unless there are too many. leave takes it back.
func (w *watching) enter(address netip.Addr) (leave func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	near, wide := crowd(address), wider(address)
	if w.all >= mostStreams || w.from[near] >= mostCrowd || wide != "" && w.from[wide] >= mostSite {
		return nil, false
	}
	w.add(near, wide, 1)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.add(near, wide, -1)
	}, true
}

func (w *watching) add(near, wide string, n int) {
	w.all += n
	for _, from := range []string{near, wide} {
		if w.from[from] += n; from == "" || w.from[from] == 0 {
			delete(w.from, from)
		}
	}
}

// wider returns the network of IPv6 that one customer may have, "" of IPv4.
func wider(a netip.Addr) string {
	if !a.Is6() {
		return ""
	}
	network, _ := a.Prefix(48) // which it has
	return network.String()
}

func (w *watching) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all
}
