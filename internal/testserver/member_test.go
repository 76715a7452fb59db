package testserver

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// HAProxy leads to the master that the Sentinels make, and ends what is idle.
func TestASentinelGroupFailsOver(t *testing.T) {
	t.Parallel()
	g := Sentinel(t, SentinelOptions{})
	h := HAProxy(t, HAProxyOptions{Targets: announced(g.Servers), Check: "role:master", Idle: time.Second})
	idle, err := net.Dial("tcp", h.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: g.MasterName, SentinelAddrs: g.Addrs()})
	t.Cleanup(func() { _ = c.Close() })
	mustPing(t, c)

	old := g.Master()
	now := g.Failover()
	if old != g.Servers[0] || now == old {
		t.Errorf("master\n got %s after %s\nwant another", now.Addr(), old.Addr())
	}
	g.Ready()
	through := client(t, &redis.Options{Addr: h.Addr()})
	eventually(t, "HAProxy leads to the new master", func() bool {
		return through.Set(t.Context(), "key", "value", 0).Err() == nil && now.Admin().Exists(t.Context(), "key").Val() == 1
	})
	if n, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("an idle connection\n got %d, %v\nwant its end", n, err)
	}

	now.Kill()
	eventually(t, "the Sentinels see that the master is dead", func() bool { m := g.Master(); return m != nil && m != now })
	now.Restart()
	g.Ready()
	h.Restart()
	eventually(t, "there is a master again", func() bool { return through.Set(t.Context(), "key", "value", 0).Err() == nil })
}

func TestASentinelGroupWithUsersAndTLS(t *testing.T) {
	t.Parallel()
	certs := Certificates(t)
	users := []RedisUser{{Name: "default", Rules: "off"}, {Name: "trac", Password: "of a server", Rules: "+ping"}}
	keepers := []RedisUser{{Name: "default", Rules: "off"}, {Name: "trac", Password: "of a sentinel", Rules: "+@all"}}
	g := Sentinel(t, SentinelOptions{Servers: RedisOptions{Users: users, TLS: certs}, Sentinels: RedisOptions{Users: keepers}})
	c := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: g.MasterName, SentinelAddrs: g.Addrs(), TLSConfig: certs.ClientConfig(t),
		Username: "trac", Password: "of a server", SentinelUsername: "trac", SentinelPassword: "of a sentinel",
	})
	t.Cleanup(func() { _ = c.Close() })
	mustPing(t, c)
	g.Failover()
	mustPing(t, c)
}

func TestAClusterFailsOver(t *testing.T) {
	t.Parallel()
	g := Cluster(t, ClusterOptions{})
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: g.Addrs()})
	t.Cleanup(func() { _ = c.Close() })
	set := func() {
		t.Helper()
		if err := c.Set(t.Context(), "key", "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	wantOwner := func(want int) {
		t.Helper()
		if owner := g.Owner("key"); owner != g.Nodes[want] {
			t.Errorf("owner of slot %d\n got %v\nwant node %d", Slot("key"), owner, want)
		}
	}
	set()
	wantOwner(2)
	replica := g.Replica(g.Nodes[2])
	if replica != g.Nodes[5] {
		t.Errorf("replica\n got %v\nwant the last", replica)
	}
	g.Failover(replica)
	g.Ready()
	set()
	wantOwner(5)

	m := g.Migrate("key", g.Nodes[0])
	if err := g.Nodes[5].Admin().Get(t.Context(), "key").Err(); err != nil {
		t.Errorf("a key that has not moved: %v", err)
	}
	m.Keys()
	if err := g.Nodes[5].Admin().Get(t.Context(), "key").Err(); !redis.HasErrorPrefix(err, "ASK") {
		t.Errorf("a key that has moved\n got %v\nwant ASK", err)
	}
	m.End()
	set()
	wantOwner(0)

	g.Takeover(g.Nodes[3])
	eventually(t, "it has the slot", func() bool { return g.Owner("key") == g.Nodes[3] })
	g.Ready() // else its replica would be too far behind to take over
	g.Nodes[3].Kill()
	eventually(t, "its replica takes over", func() bool { return g.Owner("key") == g.Nodes[0] })
	g.Ready()
	g.Nodes[3].Restart()
	g.Ready()
}

func TestAnIsolatedPrimaryIsReplaced(t *testing.T) {
	t.Parallel()
	g := Cluster(t, ClusterOptions{Proxied: true})
	old := g.Nodes[0]
	key := "tracbus"
	for g.Owner(key) != old {
		key += "."
	}
	g.Isolate(old, true)
	mustPing(t, client(t, &redis.Options{Addr: old.Announced()}))
	eventually(t, "the replica takes over", func() bool { return g.Owner(key) == g.Nodes[3] })
	eventually(t, "the old one stops", func() bool {
		info, _ := old.Admin().ClusterInfo(t.Context()).Result()
		return strings.Contains(info, "cluster_state:fail")
	})
	g.Heal()
	g.Ready()
	if n := g.self(old); n.primary() {
		t.Errorf("after it was healed\n got %+v\nwant a replica", n)
	}

	g.Isolate(g.Nodes[3], false)
	c := client(t, &redis.Options{Addr: g.Nodes[3].Announced(), ReadTimeout: 50 * time.Millisecond, MaxRetries: -1})
	if err := c.Ping(t.Context()).Err(); !isTimeout(err) {
		t.Errorf("PING of what is wholly cut off\n got %v\nwant a timeout", err)
	}
	g.Heal()
	mustPing(t, client(t, &redis.Options{Addr: g.Nodes[3].Announced()}))
	g.Ready()
}

func TestAnIsolatedMasterIsReplaced(t *testing.T) {
	t.Parallel()
	g := Sentinel(t, SentinelOptions{Proxied: true})
	g.Isolate(g.Servers[0], true)
	eventually(t, "a replica takes over", func() bool { m := g.Master(); return m != nil && m != g.Servers[0] })
	role, err := g.Servers[0].Admin().Do(t.Context(), "role").Slice()
	if err != nil || role[0] != "master" {
		t.Errorf("role of the isolated one\n got %v, %v\nwant master", role, err)
	}
	g.Heal()
	g.Ready()
}
