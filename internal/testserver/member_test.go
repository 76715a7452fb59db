package testserver

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestASentinelGroupFailsOver(t *testing.T) {
	began := time.Now()
	g := Sentinel(t, SentinelOptions{})
	t.Logf("ready after %v", time.Since(began))
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: g.MasterName, SentinelAddrs: g.Addrs()})
	t.Cleanup(func() { _ = c.Close() })
	mustPing(t, c)
	began = time.Now()
	old := g.Master()
	now := g.Failover()
	t.Logf("failover took %v", time.Since(began))
	if old != g.Servers[0] || now == old {
		t.Errorf("master\n got %s after %s\nwant another", now.Addr(), old.Addr())
	}
	g.Ready()
	t.Logf("ready after %v", time.Since(began))
	now.Kill()
	began = time.Now()
	g.await("the Sentinels see that the master is dead", func() bool { m := g.Master(); return m != nil && m != now })
	t.Logf("failover took %v", time.Since(began))
	now.Restart()
	g.Ready()
	t.Logf("ready after %v", time.Since(began))
}

func TestASentinelGroupWithUsersAndTLS(t *testing.T) {
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

func TestACluster(t *testing.T) {
	for _, proxied := range []bool{false, true} {
		began := time.Now()
		g := Cluster(t, ClusterOptions{Proxied: proxied})
		t.Logf("ready after %v", time.Since(began))
		c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: g.Addrs()})
		t.Cleanup(func() { _ = c.Close() })
		if err := c.Set(t.Context(), "key", "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
		owner := g.Owner("key")
		if owner != g.Nodes[2] {
			t.Errorf("owner of slot %d\n got %v\nwant the third", Slot("key"), owner)
		}
		replica := g.Replica(owner)
		if replica != g.Nodes[5] {
			t.Errorf("replica\n got %v\nwant the last", replica)
		}
		began = time.Now()
		g.Failover(replica)
		t.Logf("failover took %v", time.Since(began))
		g.Ready()
		t.Logf("ready after %v", time.Since(began))
		if err := c.Set(t.Context(), "key", "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		g.MoveSlot("key", g.Nodes[0])
		t.Logf("move took %v", time.Since(began))
		if err := c.Set(t.Context(), "key", "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if owner := g.Owner("key"); owner != g.Nodes[0] {
			t.Errorf("owner of slot %d\n got %v\nwant the first", Slot("key"), owner)
		}
		began = time.Now()
		g.Nodes[0].Kill()
		if !await(func() bool { return g.Owner("key") == g.Nodes[3] }) {
			t.Fatal("no failover")
		}
		t.Logf("failover took %v", time.Since(began))
		g.Ready()
		t.Logf("ready after %v", time.Since(began))
		began = time.Now()
		g.Nodes[0].Restart()
		g.Ready()
		t.Logf("ready after %v", time.Since(began))
	}
}
