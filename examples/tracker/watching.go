package main

import "sync"

// watching counts the browsers that watch, so that no address takes the streams of all.
type watching struct {
	mu   sync.Mutex
	all  int
	from map[string]int // by address
}

func newWatching() *watching { return &watching{from: map[string]int{}} }

// enter counts one more, unless there are too many. leave takes it back.
func (w *watching) enter(address string) (leave func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all >= mostStreams || w.from[address] >= mostCrowd {
		return nil, false
	}
	w.all++
	w.from[address]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all--
		if w.from[address]--; w.from[address] == 0 {
			delete(w.from, address)
		}
	}, true
}

func (w *watching) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all
}
