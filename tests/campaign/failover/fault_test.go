package failover_test

import (
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// fault is what happens in a round.
type fault struct {
	name    string
	on      []string
	apart   bool     // in a cluster, the stream is at another node than the channels, and that is struck
	proxied bool     // proxies are before all servers
	ours    bool     // clients of go-redis alone ask one Sentinel, and follow it where it errs (docs/redis.md)
	short   []string // topologies on which it is in the short form
	strike  func(r *rig) (mend func())
}

var (
	everywhere = []string{onPlain, onSentinel, onCluster}
	groups     = []string{onSentinel, onCluster}
	plain      = []string{onPlain}
	sentinel   = []string{onSentinel}
	cluster    = []string{onCluster}
)

// faults are all kinds. Each begins with the server that serves, and returns when
// the fault is over, or will not be; mend puts things in order again when
// everything works in spite of it.
var faults = []fault{
	{name: "kill -9", on: groups, short: cluster, strike: kill},
	{name: "SIGSTOP for good", on: groups, strike: halt},
	{name: "SIGSTOP 8 s", on: everywhere, strike: haltFor(8 * time.Second)},
	{name: "FAILOVER", on: groups, strike: failover},
	{name: "FAILOVER, 4 s later no Sentinels", on: sentinel, short: sentinel, strike: failoverAlone},
	{name: "a Sentinel stands, FAILOVER, 4 s later no old master", on: sentinel, ours: true, strike: standSentinel},
	{name: "partition, the master with a Sentinel", on: sentinel, proxied: true, ours: true, strike: isolateWithSentinel},
	{name: "TAKEOVER", on: cluster, strike: takeover},
	{name: "partition, clients with both sides", on: groups, proxied: true, strike: isolate(true)},
	{name: "partition, clients with the others", on: groups, proxied: true, strike: isolate(false)},
	{name: "black hole 8 s", on: plain, strike: hole},
	{name: "cut 0.5 s", on: everywhere, proxied: true, strike: cut(500 * time.Millisecond)},
	{name: "replicas lag and are promoted", on: groups, strike: lag},
	{name: "bus links killed", on: cluster, apart: true, short: cluster, strike: killLinks},
	{name: "the channels' node stands 1.5–8 s", on: cluster, apart: true, strike: standChannels},
	{name: "kill -9 of the stream's node", on: cluster, apart: true, strike: kill},
	{name: "SIGSTOP for good of the stream's node", on: cluster, apart: true, strike: halt},
	{name: "TAKEOVER of the stream's node", on: cluster, apart: true, strike: takeover},
	{name: "the address leads to a promoted replica", on: plain, short: plain, strike: lead},
	{name: "the address leads elsewhere, publishers stay", on: plain, strike: leadSubscribers},
	{name: "a server that quotes AUTH", on: plain, strike: quote},
	{name: "slot migration", on: cluster, strike: migrate},
}

func kill(r *rig) func() {
	s := r.servers[r.serving]
	s.Kill()
	return s.Restart
}

func halt(r *rig) func() {
	s := r.servers[r.serving]
	s.Stop()
	return s.Continue
}

func haltFor(d time.Duration) func(*rig) func() {
	return func(r *rig) func() {
		s := r.servers[r.serving]
		s.Stop()
		record.Sleep(r.t.Context(), d)
		s.Continue()
		return nil
	}
}

func failover(r *rig) func() {
	if r.sentinels != nil {
		r.sentinels.Failover()
	} else {
		r.cluster.Failover(r.replicaOf(r.serving))
	}
	return nil
}

func failoverAlone(r *rig) func() {
	r.sentinels.Failover()
	record.Sleep(r.t.Context(), 4*time.Second)
	for _, s := range r.sentinels.Sentinels {
		s.Kill()
	}
	return nil
}

// standSentinel halts a Sentinel; the others name another master, and the old one goes.
func standSentinel(r *rig) func() {
	w, old := r.anySentinel(), r.servers[r.serving]
	w.Stop()
	r.sentinels.Failover()
	record.Sleep(r.t.Context(), 4*time.Second)
	old.Kill()
	return func() {
		w.Continue()
		old.Restart()
	}
}

// isolateWithSentinel has a Sentinel go on naming a master that the others have
// replaced. Clients reach all.
func isolateWithSentinel(r *rig) func() {
	r.sentinels.IsolateBoth(r.servers[r.serving], r.anySentinel(), true)
	defer r.sentinels.Heal()
	record.Sleep(r.t.Context(), 20*time.Second) // longer than a Resync may take
	return nil
}

// anySentinel returns one of the Sentinels.
func (r *rig) anySentinel() *testserver.RedisServer {
	return r.sentinels.Sentinels[r.random.IntN(len(r.sentinels.Sentinels))]
}

func takeover(r *rig) func() {
	r.cluster.Takeover(r.replicaOf(r.serving))
	return nil
}

// lag has the replicas lose what the primary did last, and one promoted: for a time
// their primary does not let them in.
func lag(r *rig) func() {
	s := r.servers[r.serving]
	replicas := r.replicas(r.serving)
	right, err := s.Admin().ConfigGet(r.t.Context(), "masterauth").Result() // the same everywhere
	if err != nil {
		r.t.Fatal(err)
	}
	for _, replica := range replicas {
		order(r.t, replica, "config", "set", "masterauth", "wrong")
		order(r.t, replica, "client", "kill", "type", "master")
	}
	record.Sleep(r.t.Context(), 700*time.Millisecond)
	s.Kill()
	return func() {
		for _, replica := range replicas {
			order(r.t, replica, "config", "set", "masterauth", right["masterauth"])
		}
		s.Restart()
	}
}

// killLinks has the stream's node lose its links to the others again and again, with
// what is on its way.
func killLinks(r *rig) func() {
	s := r.servers[r.serving]
	for range 10 {
		for _, other := range r.servers {
			if other != s {
				order(r.t, s, "debug", "clusterlink", "kill", "all", r.cluster.ID(other))
			}
		}
		record.Sleep(r.t.Context(), 300*time.Millisecond)
	}
	return nil
}

// standChannels halts the node at which subscribers without a stream subscribe.
func standChannels(r *rig) func() {
	s := r.cluster.Owner(channelsKey)
	d := 1500*time.Millisecond + time.Duration(r.random.Int64N(int64(6500*time.Millisecond)))
	r.say("it stands %v", d.Round(time.Millisecond))
	s.Stop()
	record.Sleep(r.t.Context(), d)
	s.Continue()
	return nil
}

// migrate moves the slot, while it is used.
func migrate(r *rig) func() {
	for _, to := range r.cluster.Primaries() {
		if to != r.servers[r.serving] {
			m := r.cluster.Migrate(channelsKey, to)
			record.Sleep(r.t.Context(), time.Second)
			m.Keys()
			record.Sleep(r.t.Context(), time.Second)
			m.End()
			return nil
		}
	}
	panic(fmt.Sprintf("%d is the only primary", r.serving))
}

// isolate cuts the primary off from all other servers for a time. Clients reach all,
// or all but the primary.
func isolate(clients bool) func(*rig) func() {
	return func(r *rig) func() {
		s := r.servers[r.serving]
		if r.sentinels != nil {
			r.sentinels.Isolate(s, clients)
			defer r.sentinels.Heal()
		} else {
			r.cluster.Isolate(s, clients)
			defer r.cluster.Heal()
		}
		record.Sleep(r.t.Context(), 8*time.Second)
		return nil
	}
}

// lead promotes the replica, to which the address leads from then on. Connections of
// publishers stay where they are, those of subscribers do not.
func lead(r *rig) func() {
	old, now := r.servers[0], r.servers[1]
	order(r.t, now, "replicaof", "no", "one")
	r.lead(1)
	order(r.t, old, "config", "set", "masterauth", password)
	order(r.t, old, "replicaof", "127.0.0.1", now.Port())
	order(r.t, old, "client", "kill", "type", "pubsub")
	return nil
}

// leadSubscribers is the same, but the old server remains a master, where publishers
// publish for nobody until they notice.
func leadSubscribers(r *rig) func() {
	order(r.t, r.servers[1], "replicaof", "no", "one")
	r.lead(1)
	order(r.t, r.servers[0], "client", "kill", "type", "pubsub")
	return nil
}

// quote has the address lead for a time to a server that knows neither AUTH nor
// HELLO, and quotes what it is given.
func quote(r *rig) func() {
	s := testserver.Redis(r.t, testserver.RedisOptions{
		Password: password, Args: []string{"--rename-command", "AUTH", "", "--rename-command", "HELLO", ""},
	})
	r.leadsTo.Store(nobody)
	r.addr.Redirect(s.Addr())
	r.addr.Cut()
	record.Sleep(r.t.Context(), 4*time.Second)
	r.lead(0)
	r.addr.Cut()
	return nil
}

// hole makes a black hole of the plain address.
func hole(r *rig) func() {
	r.leadsTo.Store(nobody)
	r.addr.Swallow()
	record.Sleep(r.t.Context(), 8*time.Second)
	r.addr.Cut()
	r.addr.Resume()
	r.leadsTo.Store(0)
	return nil
}

// cut cuts the primary off from all, as if nobody listened.
func cut(d time.Duration) func(*rig) func() {
	return func(r *rig) func() {
		for _, p := range r.proxiesOf(r.serving) {
			p.Refuse()
			p.Cut()
		}
		record.Sleep(r.t.Context(), d)
		for _, p := range r.proxiesOf(r.serving) {
			p.Accept()
		}
		return nil
	}
}
