package redisconn

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// ListenConfig says to what [Listen] subscribes.
type ListenConfig struct {
	// Patterns are Redis's, each of them once.
	Patterns []string

	// PingAfter is how long Redis may be silent before it is asked with a PING
	// whether it is still there.
	PingAfter time.Duration

	// MaxBackoff bounds the pause between tries to connect.
	MaxBackoff time.Duration

	// Links says that messages matter, and may come from any node of a cluster: the
	// connections between the nodes are watched, and what cannot be watched is
	// yielded as Unwatched.
	Links bool
}

// A Step is one of four things that happen to a loop over [Listen].
type Step struct {
	// Message was received. It is nil in the other cases.
	Message *redis.Message

	// Lost says why there is no subscription. A try that fails after it is reported
	// only if that is for another reason: see [Outage].
	Lost error

	// Unwatched says once, beside a subscription, that messages may be lost without
	// a word, and why.
	Unwatched error

	// If all are nil, all patterns are subscribed to: no message that is published
	// from now on is missed unless Lost follows, or the same again. Again says that
	// this was so before, and that messages since then are missing, or may be.
	Again bool
}

// Listen subscribes, again whenever the connection is lost, until the loop is
// left or ctx ends.
func Listen(ctx context.Context, client redis.UniversalClient, config ListenConfig) iter.Seq[Step] {
	return func(yield func(Step) bool) {
		life := WithoutDeadline(ctx)
		l := listener{router: NewRouter(client), config: config, yield: yield, unwatched: map[string]bool{}}
		for try := 0; ; try++ {
			err := l.session(life)
			if l.left || ctx.Err() != nil {
				return
			}
			if l.subscribed {
				try = 0
			}
			if l.lost(err); l.left {
				return
			}
			if !Pause(ctx, try, config.MaxBackoff) {
				return
			}
		}
	}
}

// listener is one loop over [Listen].
type listener struct {
	router *Router
	config ListenConfig
	yield  func(Step) bool

	left       bool // the caller left the loop
	before     bool // there was a subscription before
	subscribed bool // the current session, or else the last one, came to a subscription
	outage     Outage

	unwatched map[string]bool // what the caller knows not to be watched

	server string      // of the last subscription
	moved  time.Time   // when that was another one than before
	torn   atomic.Bool // messages may have been lost, though the connection is not

	blind atomic.Pointer[UnwatchedError] // what is not watched any more
}

// partings returns how long a publisher may go on publishing at the server that a
// subscriber has left: until its own lookout has found the same. It looks at least
// every lookSeldom, and has begun a look when the subscriber leaves that found
// nothing yet. The first time is that of a publisher which needs one more look, and
// whose questions are answered at once. The last one is that of a publisher which is
// in doubt, see sureAfter, and whose looks take long. Each look that is not answered
// within slowLook may be one more, so that such a publisher has no bound.
func partings() []time.Duration {
	return []time.Duration{2 * lookSeldom, (1 + sureAfter) * slowLook}
}

// slowLook is the longest look of a publisher that subscribers reckon with.
const slowLook = 10 * time.Second

// session subscribes and receives until the connection is lost, ctx ends or the
// caller leaves the loop.
func (l *listener) session(ctx context.Context) error {
	l.subscribed = false
	s, err := newSubscription(ctx, l.router)
	if err != nil {
		return err
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	defer s.close()
	if err := s.subscribe(l.config.Patterns...); err != nil {
		return err
	}
	watching.Go(func() { s.watch(l.config.PingAfter) })

	for confirmed := 0; !l.left; {
		received, err := s.receive()
		if err != nil && !(l.subscribed && IsReply(err)) { // to a PING, which the user may not use
			return err
		}
		switch m := received.(type) {
		case *redis.Subscription:
			if confirmed++; confirmed == len(l.config.Patterns) {
				l.watchLinks(s, &watching)
				l.cannotWatch(s.conn.Unwatched())
				l.awaitPublishers(s, &watching)
				l.confirmed()
			}
		case *redis.Message:
			l.left = !l.yield(Step{Message: m})
		}
		if blind := l.blind.Swap(nil); blind != nil {
			l.cannotWatch(blind)
		}
		if !l.left && l.torn.Swap(false) && l.subscribed {
			l.confirmed()
		}
	}
	return nil
}

// confirmed yields that from now on the caller misses nothing.
func (l *listener) confirmed() {
	again := l.before
	l.before, l.subscribed, l.outage = true, true, Outage{}
	l.left = !l.yield(Step{Again: again})
}

// awaitPublishers has the caller learn once more that messages may be missing, if he
// is at another server now: those that publishers published at the one before, until
// they followed, came to whoever was still there. They may come later than he does.
//
// A server that was restarted looks like another one behind the same address: a
// balancer, or a name, may lead to a new server while the old one lives on. So that
// is told again, too, though nobody can have stayed behind.
func (l *listener) awaitPublishers(s *subscription, watching *sync.WaitGroup) {
	before := l.server
	if l.server = s.conn.place.name(); l.before && l.server != before {
		l.moved = time.Now()
	}
	moved := l.moved
	watching.Go(func() {
		for _, parting := range partings() {
			due := time.Until(moved.Add(parting))
			if due <= 0 {
				continue // this subscription began later, which was told
			}
			timer := time.NewTimer(due)
			select {
			case <-s.conn.ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
				l.torn.Store(true)
				s.ping() // whose answer wakes receive
			}
		}
	})
}

// watchLinks begins to watch the connections on which the node of a cluster hears
// the others. A look before the subscription is confirmed to the caller, so that he
// learns of all that is lost from then on.
func (l *listener) watchLinks(s *subscription, watching *sync.WaitGroup) {
	l.torn.Store(false)
	if !l.config.Links || !s.conn.place.Cluster {
		return
	}
	w := &links{o: s.conn.node}
	if _, err := w.changed(s.conn.ctx); err != nil {
		l.cannotWatch(unwatchedLinks(err))
		if cannotTell(err) {
			w.close()
			return
		}
	}
	watching.Go(func() {
		defer w.close()
		tick := time.NewTicker(lookAtLinks)
		defer tick.Stop()
		for {
			select {
			case <-s.conn.ctx.Done():
				return
			case <-tick.C:
			}
			changed, err := w.changed(s.conn.ctx)
			switch {
			case changed:
				l.torn.Store(true)
			case cannotTell(err):
				l.blind.Store(unwatchedLinks(err))
			default:
				continue
			}
			s.ping() // whose answer comes after all that came, and wakes receive
			if err != nil {
				return
			}
		}
	})
}

// cannotWatch yields, once, what is not watched.
func (l *listener) cannotWatch(err error) {
	unwatched, is := errors.AsType[*UnwatchedError](err)
	if !is || l.unwatched[unwatched.What] || !l.config.Links || l.left {
		return
	}
	l.unwatched[unwatched.What] = true
	l.left = !l.yield(Step{Unwatched: l.router.Explain(err)})
}

// lost yields that there is no subscription, if that is news.
func (l *listener) lost(err error) {
	if err = l.router.Explain(err); l.outage.News(ReasonFor(err)) {
		l.left = !l.yield(Step{Lost: err})
	}
}
