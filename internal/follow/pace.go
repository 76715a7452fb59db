package follow

import (
	"context"
	"time"
)

// pace keeps a follower from reading after every commit when commits come faster than
// it should read: then it lets some come together, and reads them at once. What comes
// after a while in which nothing did is read at once.
type pace struct {
	ended time.Time     // when the last read ended
	pause time.Duration // how long after it the next one is, if commits are dense
}

// Under load, reads take a share of the time: they follow each other after so many times
// the time that one took, at least and at most.
const (
	paceShare = 10
	minPause  = time.Millisecond
	maxPause  = 10 * time.Millisecond
)

// read notes a read that began at a moment and has ended.
func (p *pace) read(began time.Time) {
	p.ended = time.Now()
	p.pause = min(max(paceShare*p.ended.Sub(began), minPause), maxPause)
}

// wait returns when the next read is due. There is something to read. It does not wait
// if that came late after the last read, or if somebody is in a hurry.
func (p *pace) wait(ctx context.Context, hurry <-chan struct{}) {
	since := time.Since(p.ended)
	if since >= p.pause/2 {
		return
	}
	due := time.NewTimer(p.pause - since)
	defer due.Stop()
	select {
	case <-due.C:
	case <-hurry:
	case <-ctx.Done():
	}
}
