package failover_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tracbus/tracbus/tests/campaign/record"
)

// nobody is the server that serves when none does.
const nobody = -1

// look is how often it is asked who serves, and patience how long an answer is
// waited for: whoever takes longer has no say then.
const (
	lookEvery    = 50 * time.Millisecond
	lookPatience = 300 * time.Millisecond
)

// reign is a time in which one server served, or none. It lasts until the next.
type reign struct {
	from   time.Time
	server int
}

// voter is one who knows which server is the primary of a key.
type voter interface {
	// vote returns the server's number.
	vote(ctx context.Context) (server int, err error)
}

// observer asks all who know all the time, and holds each server against it:
// one serves if most of those who answer name it and it takes writes itself.
type observer struct {
	serves func(ctx context.Context, server int) bool

	mu     sync.Mutex
	votes  []vote
	reigns []reign
	agreed []reign // the same, where all who answer agree
}

type vote struct {
	server int
	at     time.Time
}

// observe starts to ask, until the test ends.
func observe(t testing.TB, voters []voter, serves func(context.Context, int) bool) *observer {
	o := &observer{serves: serves, votes: make([]vote, len(voters))}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for i, v := range voters {
		running.Go(func() {
			for ; ctx.Err() == nil; record.Sleep(ctx, lookEvery) {
				asking, done := context.WithTimeout(ctx, lookPatience)
				server, err := v.vote(asking)
				done()
				if err == nil {
					o.mu.Lock()
					o.votes[i] = vote{server, time.Now()}
					o.mu.Unlock()
				}
			}
		})
	}
	running.Go(func() {
		for ; ctx.Err() == nil; record.Sleep(ctx, lookEvery) {
			o.look(ctx)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return o
}

// look counts the votes.
func (o *observer) look(ctx context.Context) {
	o.mu.Lock()
	count, answered := map[int]int{}, 0
	for _, v := range o.votes {
		if time.Since(v.at) < lookEvery+2*lookPatience {
			count[v.server]++
			answered++
		}
	}
	o.mu.Unlock()
	elected := nobody
	for server, n := range count {
		if 2*n > answered {
			elected = server
		}
	}
	unanimous := elected != nobody && count[elected] == answered
	asking, done := context.WithTimeout(ctx, lookPatience)
	defer done()
	if answered == 0 { // all who know are gone: it is as it was
		elected = o.now()
		unanimous = elected != nobody
	}
	if elected != nobody && !o.serves(asking, elected) {
		elected, unanimous = nobody, false
	}
	if ctx.Err() != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reigns = begin(o.reigns, elected)
	if unanimous {
		o.agreed = begin(o.agreed, elected)
	}
}

// begin begins a reign, if it is a new one.
func begin(reigns []reign, server int) []reign {
	if len(reigns) > 0 && reigns[len(reigns)-1].server == server {
		return reigns
	}
	return append(reigns, reign{time.Now(), server})
}

// now returns who serves.
func (o *observer) now() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.reigns) == 0 {
		return nobody
	}
	return o.reigns[len(o.reigns)-1].server
}

// history returns all reigns, and those on which all agreed.
func (o *observer) history() (reigns, agreed []reign) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]reign(nil), o.reigns...), append([]reign(nil), o.agreed...)
}

// at returns who served at a time; if nobody did, who did before that.
func at(reigns []reign, t time.Time) int {
	server := nobody
	for _, r := range reigns {
		if r.from.After(t) && server != nobody {
			break
		}
		if r.server != nobody {
			server = r.server
		}
	}
	return server
}
