package redisconn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn/quorum"
)

const (
	// maxMore is how many nodes are asked at once besides the first.
	maxMore = 4 * seats

	// maxAsked is how many are asked at all.
	maxAsked = seats + 2*maxMore
)

// inquiry is one question of a council. If none of those who are asked at first
// answers, all others are asked besides, and then those that the client itself has met:
// the ones that the application named may all be gone. Nobody is waited for alone: if
// all stand still, it takes little longer than one of them may take.
type inquiry struct {
	*council
	count    quorum.Tally
	asked    []string
	owed     int // answers
	answers  chan opinion
	recalled <-chan []string // what the client still owes
	wider    int             // how often others were asked besides
	errs     []error
}

// run asks, and returns as soon as the answers leave no doubt.
func (q *inquiry) run(ctx context.Context, first []string) (quorum.Verdict, error) {
	q.ask(first)
	limit := q.cluster.Options().DialTimeout
	if limit > 0 { // else there is none
		limit += 2 * patience
	}
	bounded, cancel := within(ctx, limit)
	defer cancel()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		idle := q.owed == 0 && q.recalled == nil
		if idle && q.count.Heard() {
			q.count.Late = true // nobody else answers
		}
		if v, ok := q.count.Verdict(); ok && (v.Sure || q.count.Late) {
			return v, nil
		}
		if idle {
			if !q.widen() {
				return quorum.Verdict{}, q.failure()
			}
			timer.Reset(patience)
			continue
		}
		select {
		case o := <-q.answers:
			q.owed--
			q.weigh(o)
		case addrs := <-q.recalled:
			q.recalled, q.recalling = nil, nil
			q.ask(addrs)
		case <-timer.C:
			if q.count.Heard() || !q.widen() {
				q.count.Late = true
				continue
			}
			timer.Reset(patience)
		case <-bounded.Done():
			if ctx.Err() != nil {
				return quorum.Verdict{}, ctx.Err()
			}
			return quorum.Verdict{}, q.failure()
		}
	}
}

// widen has others asked besides. It returns false if all were.
func (q *inquiry) widen() bool {
	switch q.wider++; q.wider {
	case 1:
		q.ask(q.all())
	case 2:
		q.recalled = q.remembered()
	default:
		return false
	}
	return true
}

// ask asks nodes at once that were not asked yet.
func (q *inquiry) ask(addrs []string) {
	addrs = slices.DeleteFunc(addrs, func(addr string) bool { return slices.Contains(q.asked, addr) })
	for _, addr := range addrs[:min(len(addrs), maxMore)] {
		q.asked = append(q.asked, addr)
		q.count.Asked++
		s := q.seat(addr)
		if !s.mu.TryLock() { // it still owes the last answer
			s.silent.Store(true)
			continue
		}
		q.owed++
		q.asking.Go(func() {
			defer s.mu.Unlock()
			slots, err := s.ask(q.council)
			s.silent.Store(err != nil)
			q.answers <- opinion{addr, slots, err}
		})
	}
}

// weigh counts an answer, or keeps why it does not count.
func (q *inquiry) weigh(o opinion) {
	owner, err := quorum.Node{}, o.err
	if err == nil {
		owner, err = quorum.OwnerIn(o.slots, q.slot, o.by)
	}
	if err != nil {
		q.errs = append(q.errs, fmt.Errorf("%s: %w", o.by, err))
		return
	}
	if !q.count.Heard() {
		q.learn(o)
	}
	q.count.Add(o.by, owner)
}

// failure says why nobody has named a node: as many reasons as were asked at first.
func (q *inquiry) failure() error {
	if len(q.errs) == 0 {
		return errNobody
	}
	return errors.Join(q.errs[:min(len(q.errs), seats)]...)
}

// remembered returns the addresses of the nodes that the client itself has met.
// go-redis asks some of them before it tells, whatever becomes of its context: it is
// not asked again before it has told.
func (c *council) remembered() <-chan []string {
	if c.recalling != nil {
		return c.recalling
	}
	told := make(chan []string, 1)
	c.recalling = told
	ctx, cancel := within(c.ctx, c.cluster.Options().DialTimeout)
	go func() {
		defer cancel()
		var mu sync.Mutex
		var all []string
		_ = c.cluster.ForEachShard(ctx, func(_ context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, node.Options().Addr)
			return nil
		})
		told <- all
	}()
	return told
}
