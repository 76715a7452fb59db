package testserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// SentinelOptions says how a [SentinelGroup] differs from one on plain TCP where
// everybody may do everything.
type SentinelOptions struct {
	// MasterName is the name that Sentinels have for the server. Zero means
	// "tracmaster".
	MasterName string

	// DownAfter is how long a server must not answer before a Sentinel takes it
	// for down. Zero means 1 s.
	DownAfter time.Duration

	// FailoverTimeout is after how long a failover is given up, and half of the
	// time before another one. Zero means 6 s.
	FailoverTimeout time.Duration

	// Servers is for the master and its replicas, Sentinels for the Sentinels,
	// where Unix and TLS have no meaning: they use the TLS of the servers.
	Servers, Sentinels RedisOptions

	// Proxied puts a proxy in front of each server and each Sentinel, through
	// which the others, and clients, reach it. Then [SentinelGroup.Isolate] can cut
	// servers off.
	Proxied bool
}

// SentinelGroup is a master, two replicas and three Sentinels.
type SentinelGroup struct {
	MasterName string
	Servers    []*RedisServer // the first one is the master at first
	Sentinels  []*RedisServer

	t      testing.TB
	quorum int
}

// Sentinel starts a group that ends with the test. It is in order when this returns:
// replicas have what the master has, and the Sentinels know all of them.
func Sentinel(t testing.TB, options SentinelOptions) *SentinelGroup {
	t.Helper()
	g := &SentinelGroup{t: t, MasterName: options.MasterName, quorum: 2}
	if g.MasterName == "" {
		g.MasterName = "tracmaster"
	}
	if options.DownAfter == 0 {
		options.DownAfter = time.Second
	}
	if options.FailoverTimeout == 0 {
		options.FailoverTimeout = 6 * time.Second
	}
	options.Sentinels.TLS, options.Sentinels.Unix = options.Servers.TLS, false

	for range 3 {
		s := newRedis(t, options.Servers)
		s.member = &member{}
		g.Servers = append(g.Servers, s)
		w := newRedis(t, options.Sentinels)
		w.member = &member{sentinel: true}
		g.Sentinels = append(g.Sentinels, w)
	}
	startGroup(t, g.Servers, func() {
		front(t, g.Servers, options.Proxied)
		for i, s := range g.Servers {
			s.member.config = replicaConfig(s, g.Servers[0], i > 0)
		}
	})
	g.await("replicas are in sync", func() bool { return inSync(g.Servers[1:]) })
	startGroup(t, g.Sentinels, func() {
		front(t, g.Sentinels, options.Proxied)
		for i, s := range g.Sentinels {
			s.member.config = g.config(i, s, options)
		}
	})
	g.await("the Sentinels know all of the group", g.ready)
	return g
}

// replicaConfig is what a server has to know of its group.
func replicaConfig(s, master *RedisServer, replica bool) string {
	var l lines
	l.replicate(s)
	s.member.announce(&l, "replica")
	if replica {
		host, port := split(master.Announced())
		l.set("replicaof %s %s", host, port)
	}
	return l.String()
}

// announce has a server name its proxy to the others, and connect from its own
// address.
func (m *member) announce(l *lines, as string) {
	if m.front == nil {
		return
	}
	host, port := split(m.front.Addr())
	l.set("%s-announce-ip %s", as, host)
	l.set("%s-announce-port %s", as, port)
	l.set("bind-source-addr %s", m.source)
}

// config is what a Sentinel has to know. It knows the replicas and the others at once,
// which else takes some seconds.
func (g *SentinelGroup) config(i int, s *RedisServer, options SentinelOptions) string {
	var l lines
	id := func(i int) string { return fmt.Sprintf("%040x", 0x5e471e1+i) }
	host, port := split(g.Servers[0].Announced())
	l.set("sentinel myid %s", id(i))
	l.set("sentinel monitor %s %s %s %d", g.MasterName, host, port, g.quorum)
	l.set("sentinel down-after-milliseconds %s %d", g.MasterName, options.DownAfter.Milliseconds())
	l.set("sentinel failover-timeout %s %d", g.MasterName, options.FailoverTimeout.Milliseconds())
	l.set("sentinel parallel-syncs %s 2", g.MasterName)
	l.set("sentinel auth-user %s %s", g.MasterName, administrator)
	l.set("sentinel auth-pass %s %s", g.MasterName, administrator)
	l.set("sentinel sentinel-user %s", administrator)
	l.set("sentinel sentinel-pass %s", administrator)
	if s.options.TLS != nil {
		l.set("tls-replication yes")
	}
	s.member.announce(&l, "sentinel")
	for _, replica := range g.Servers[1:] {
		host, port := split(replica.Announced())
		l.set("sentinel known-replica %s %s %s", g.MasterName, host, port)
	}
	for n, other := range g.Sentinels {
		if n != i {
			host, port := split(other.Announced())
			l.set("sentinel known-sentinel %s %s %s %s", g.MasterName, host, port, id(n))
		}
	}
	return strings.ReplaceAll(l.String(), "sentinel-announce", "sentinel announce")
}

// Addrs returns the addresses of the Sentinels.
func (g *SentinelGroup) Addrs() []string { return announced(g.Sentinels) }

// Master returns the server that most Sentinels now take for the master, of those who
// answer; nil if nobody does, or they do not agree.
func (g *SentinelGroup) Master() *RedisServer {
	votes, heard := map[string]int{}, 0
	for _, s := range g.Sentinels {
		if !s.Running() {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		addr, err := s.Admin().Do(ctx, "sentinel", "get-master-addr-by-name", g.MasterName).StringSlice()
		cancel()
		if err == nil && len(addr) == 2 {
			votes[addr[0]+":"+addr[1]]++
			heard++
		}
	}
	for _, s := range g.Servers {
		if n := votes[s.Announced()]; n > 0 && 2*n > heard {
			return s
		}
	}
	return nil
}

// Failover has the Sentinels make a replica the master, and returns it when all that
// run say so.
func (g *SentinelGroup) Failover() *RedisServer {
	g.t.Helper()
	old := g.Master()
	asked := false
	g.await("a failover begins", func() bool {
		for _, s := range g.Sentinels {
			if s.Running() && !asked {
				err := s.Admin().Do(context.Background(), "sentinel", "failover", g.MasterName).Err()
				asked = err == nil // else a failover is under way, or no replica is good enough yet
			}
		}
		return asked
	})
	var now *RedisServer
	g.await("the Sentinels have a new master", func() bool {
		now = g.Master()
		return now != nil && now != old
	})
	return now
}

// Ready waits until the others follow the master and all Sentinels know that. All
// servers must run. Meanwhile, Sentinels do more often what they do every 2 s to 10 s.
func (g *SentinelGroup) Ready() {
	g.t.Helper()
	g.hurry(100, 100)
	g.await("the group is in order", g.ready)
	g.hurry(10000, 2000)
}

// hurry sets how often Sentinels ask servers for their state, and tell each other, in ms.
func (g *SentinelGroup) hurry(info, publish int) {
	g.t.Helper()
	for _, s := range g.Sentinels {
		err := s.Admin().Do(context.Background(), "sentinel", "debug", "info-period", info, "publish-period", publish).Err()
		if err != nil {
			g.t.Fatalf("redis: sentinel on %s: %v", s.Addr(), err)
		}
	}
}

// ready says whether every Sentinel sees all of the group in good health.
func (g *SentinelGroup) ready() bool {
	for _, s := range g.Sentinels {
		master, err := s.Admin().Do(context.Background(), "sentinel", "master", g.MasterName).Result()
		if err != nil || field(master, "flags") != "master" {
			return false
		}
		replicas, err := s.Admin().Do(context.Background(), "sentinel", "replicas", g.MasterName).Slice()
		if err != nil || len(replicas) != len(g.Servers)-1 {
			return false
		}
		for _, r := range replicas {
			if field(r, "flags") != "slave" || field(r, "master-link-status") != "ok" {
				return false
			}
		}
		others, err := s.Admin().Do(context.Background(), "sentinel", "sentinels", g.MasterName).Slice()
		if err != nil || len(others) != len(g.Sentinels)-1 {
			return false
		}
		for _, o := range others {
			if field(o, "flags") != "sentinel" {
				return false
			}
		}
	}
	return true
}

func (g *SentinelGroup) await(what string, is func() bool) {
	g.t.Helper()
	if !await(is) {
		g.t.Fatalf("redis: not within %v: %s", patience, what)
	}
}

// inSync says whether servers are replicas that have all of their master.
func inSync(servers []*RedisServer) bool {
	for _, s := range servers {
		info, err := s.Admin().Info(context.Background(), "replication").Result()
		if err != nil || !strings.Contains(info, "master_link_status:up") {
			return false
		}
	}
	return true
}

// Isolate cuts a server or a Sentinel off from the others until Heal. Clients still
// reach it, unless clients is false. The group must be Proxied.
func (g *SentinelGroup) Isolate(s *RedisServer, clients bool) { isolate(g.all(), s, clients) }

// IsolateBoth is Isolate for two that still reach each other.
func (g *SentinelGroup) IsolateBoth(a, b *RedisServer, clients bool) {
	others := slices.DeleteFunc(g.all(), func(s *RedisServer) bool { return s == a || s == b })
	isolate(others, a, clients)
	isolate(others, b, clients)
}

// Heal ends all isolation.
func (g *SentinelGroup) Heal() { heal(g.all()) }

func (g *SentinelGroup) all() []*RedisServer { return append(slices.Clone(g.Servers), g.Sentinels...) }

// field returns a field of an answer that is a map, or a list of names and values.
func field(answer any, name string) string {
	switch a := answer.(type) {
	case map[any]any:
		text, _ := a[name].(string)
		return text
	case []any:
		for i := 0; i+1 < len(a); i += 2 {
			if a[i] == name {
				text, _ := a[i+1].(string)
				return text
			}
		}
	}
	return ""
}

func announced(servers []*RedisServer) (addrs []string) {
	for _, s := range servers {
		addrs = append(addrs, s.Announced())
	}
	return addrs
}
