package redisconn

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn/quorum"
)

// A lookout watches a connection, and hangs up when the client would connect
// elsewhere now. It is asked in the way in which the client finds its server:
//
//	Sentinels       every second, at all of the Sentinels; with a client that the
//	                application made, by a connection that is closed at once
//	one address     every 3 s, by a connection that asks who is there: a balancer, a
//	                name or an address that moves leads to another server without
//	                breaking what exists
//	Cluster         every second, at five nodes: CLUSTER SLOTS
//
// It never ends a connection because it cannot ask. What it costs a server is at
// most one such question a second for each connection that is watched.
type lookout struct {
	conn *Conn
	o    *redis.Options // of the client, for the place where the connection leads to
	past *past

	refused error // Redis's answer to INFO on the connection, so that it is not asked again
}

const (
	lookOften  = time.Second     // at those who know
	lookSeldom = 3 * time.Second // by a whole connection

	// sureAfter looks in a row have to find the same if it is doubtful: that the
	// place which was left just now is right again, or that the new one does not
	// answer.
	sureAfter = 5

	// doubtful is how long a place that was left does not come back. A Sentinel may
	// lag behind another one.
	doubtful = 10 * time.Second
)

// every calls look until it returns false or the connection ends.
func (l *lookout) every(period time.Duration, look func(ctx context.Context) bool) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-l.conn.ctx.Done():
			return
		case <-tick.C:
		}
		if !look(l.conn.ctx) {
			return
		}
	}
}

// leave hangs up.
func (l *lookout) leave(from, to string) {
	l.past.leave(from)
	l.conn.hangUp(&LeftError{From: from, To: to})
}

// past is what a router remembers of the connections that it had.
type past struct {
	mu      sync.Mutex
	left    string    // the last place that was left
	at      time.Time // when
	inTurns bool      // the client's address leads to several servers in turn
}

func (p *past) leave(place string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.at = place, time.Now()
}

// returns says whether a place is the one that was left just now.
func (p *past) returns(to string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left == to && time.Since(p.at) < doubtful
}

// several notes and says whether the address leads to several servers in turn.
func (p *past) several(now bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inTurns = p.inTurns || now
	return p.inTurns
}

// askSentinels compares where the Sentinels send the client with where it is. all
// is nil for a client whose Sentinels are not known.
func (l *lookout) askSentinels(all *sentinels) {
	here, differs := l.conn.place.Addr, 0
	l.every(lookOften, func(ctx context.Context) bool {
		o, sure := l.o, true
		var to string
		var err error
		if all == nil {
			to, err = whereTo(ctx, o)
		} else if to, sure, err = all.ask(ctx); err == nil {
			o = all.towards(o, to)
		}
		if err != nil {
			return true // nobody can be asked
		}
		if to == here {
			differs = 0
			return true
		}
		differs++
		there, err := l.look(ctx, o)
		switch {
		case err == nil && l.same(there): // by another name
			here, differs = to, 0
			return true
		case err == nil && there.Role == roleReplica:
			return true // it is not master yet, or not any more; or the client wants any replica
		case (err != nil || !sure || l.past.returns(to)) && differs < sureAfter:
			return true
		}
		l.leave(here, to)
		return false
	})
}

// same says whether a place is the one to which the connection leads.
func (l *lookout) same(there Place) bool {
	select {
	case <-l.conn.placed:
	default:
		return false
	}
	here := l.conn.place
	if here.RunID == "" || there.RunID == "" {
		return here.Remote == there.Remote
	}
	return here.RunID == there.RunID
}

// look makes a connection with settings, and says where it leads to.
func (l *lookout) look(ctx context.Context, settings *redis.Options) (Place, error) {
	o := *settings
	o.OnConnect = nil        // of which the application may count every call
	o.DisableIdentity = true // a user who may not use CLIENT SETINFO would fill Redis's ACL LOG
	ctx, cancel := within(ctx, o.DialTimeout)
	defer cancel()
	c, err := open(ctx, ctx, &o, Settings{})
	if err != nil {
		return Place{}, err
	}
	defer c.Close()
	c.place.refused = l.refused
	err = c.greet(ctx, c.client)
	return c.place, err
}

// askCouncil compares which node has the slot with the one to which the connection
// leads. sent says that another node sent the client here: then that one may have
// the slot until it has arrived.
func (l *lookout) askCouncil(c *council, here quorum.Node, sent bool) {
	var from *quorum.Node
	differs := 0
	l.every(lookOften, func(ctx context.Context) bool {
		v, err := c.ask(ctx, here)
		switch {
		case err != nil:
			return true
		case v.Owner.Same(here):
			differs, sent = 0, false
			return true
		case sent && (from == nil || v.Owner.Same(*from)):
			from = &v.Owner
			return true
		case !v.Sure:
			return true
		}
		if differs++; v.Contested && differs < 2 {
			return true
		}
		if (l.past.returns(v.Owner.Addr) || l.past.returns(here.Addr)) && differs < sureAfter {
			return true // a node that was restarted says what was so before
		}
		l.leave(here.Addr, v.Owner.Addr)
		return false
	})
}

// connectAgain compares the server to which the client's address leads now with the
// one to which the connection leads.
func (l *lookout) connectAgain() {
	select {
	case <-l.conn.placed:
	case <-l.conn.ctx.Done():
		return
	}
	here, differs := l.conn.place, 0
	l.refused = here.refused
	l.every(lookSeldom, func(ctx context.Context) bool {
		there, ok := l.elsewhere(ctx, here)
		if !ok {
			differs = 0
			return true
		}
		differs++
		if (l.past.several(false) || l.past.returns(there.name())) && differs < sureAfter {
			return true
		}
		l.past.leave(here.name())
		l.conn.hangUp(leftFor(here, there))
		return false
	})
}

// elsewhere says whether the client's address leads to another server than the
// connection, and to none but others: some addresses lead to several in turn.
func (l *lookout) elsewhere(ctx context.Context, here Place) (there Place, is bool) {
	for range 3 {
		now, err := l.look(ctx, l.o)
		if err != nil {
			return there, false
		}
		if !l.other(ctx, here, now) {
			l.past.several(is)
			if changed := here.became(now); changed != "" {
				l.conn.hangUp(&LeftError{text: changed})
			}
			return there, false
		}
		there, is = now, true
	}
	return there, is
}

// other says whether two places are two servers, of which the second one is the one
// to be at.
func (l *lookout) other(ctx context.Context, here, now Place) bool {
	switch {
	case here.RunID != "" && now.RunID != "":
		if here.RunID == now.RunID {
			return false
		}
	case now.Client != 0 && now.Client < here.Client: // a server counts upwards
	case l.resolves(ctx, here, now):
		return false
	}
	if now.Role == roleReplica { // messages reach it through its primary, as they reach the one here
		return here.Role == roleReplica && here.History != now.History
	}
	return true
}

// resolves says whether the address at the other end of the connection is still one
// of those that the client's address stands for, or that cannot be known.
func (l *lookout) resolves(ctx context.Context, here, now Place) bool {
	mine, _, err := net.SplitHostPort(here.Remote)
	fresh, _, err2 := net.SplitHostPort(now.Remote)
	name, _, err3 := net.SplitHostPort(l.o.Addr)
	if err != nil || err2 != nil || err3 != nil || mine == fresh {
		return true
	}
	ctx, cancel := within(ctx, l.o.DialTimeout)
	defer cancel()
	all, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil || !slices.Contains(all, fresh) {
		return true // the connection was not made to what the name stands for
	}
	return slices.Contains(all, mine)
}

// leftFor says from where to where.
func leftFor(from, to Place) *LeftError {
	e := &LeftError{From: from.String(), To: to.String()}
	if e.From == e.To { // behind the same address
		e.text = fmt.Sprintf("another server is at %s now", e.From)
		if from.RunID != "" && to.RunID != "" {
			e.text += fmt.Sprintf(": run_id %.8s… instead of %.8s…", to.RunID, from.RunID)
		}
	}
	return e
}
