package testserver

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ClusterOptions says how a [RedisCluster] differs from one on plain TCP where
// everybody may do everything.
type ClusterOptions struct {
	// NodeTimeout is how long a node must not answer before the others take it for
	// down. Zero means 1 s.
	NodeTimeout time.Duration

	// Nodes is for all nodes.
	Nodes RedisOptions

	// Proxied puts two proxies in front of each node, one for clients and replicas
	// and one for the other nodes. Then [RedisCluster.Isolate] can cut nodes off.
	Proxied bool
}

// RedisCluster is a Redis Cluster of three primaries with a replica each.
type RedisCluster struct {
	Nodes []*RedisServer // the first three are primaries at first; the replica of n is n+3

	t     testing.TB
	ids   map[*RedisServer]string
	buses []int // ports of the cluster bus
}

const (
	primaries = 3
	slots     = 16384
)

// Cluster starts a cluster that ends with the test. It is in order when this returns:
// all nodes agree on that, and replicas have what their primaries have.
func Cluster(t testing.TB, options ClusterOptions) *RedisCluster {
	t.Helper()
	c := &RedisCluster{t: t, ids: map[*RedisServer]string{}}
	if options.NodeTimeout == 0 {
		options.NodeTimeout = time.Second
	}
	for i := range 2 * primaries {
		s := newRedis(t, options.Nodes)
		s.member = &member{}
		c.Nodes = append(c.Nodes, s)
		c.ids[s] = fmt.Sprintf("%040x", 0xc1057e4+i)
	}
	startGroup(t, c.Nodes, func() {
		front(t, c.Nodes, options.Proxied)
		c.buses = nil
		for _, s := range c.Nodes {
			bus := freePort(t)
			c.buses = append(c.buses, bus)
			if options.Proxied {
				s.member.bus = Proxy(t, local(bus))
			}
		}
		for i, s := range c.Nodes {
			s.member.config = c.config(i, s, options)
			if err := os.WriteFile(filepath.Join(s.dir, nodesFile), []byte(c.nodes(i)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
	c.Ready()
	return c
}

const nodesFile = "nodes.conf"

// config is what a node has to know.
func (c *RedisCluster) config(i int, s *RedisServer, options ClusterOptions) string {
	var l lines
	l.set("cluster-enabled yes")
	l.set("cluster-config-file %s", nodesFile)
	l.set("cluster-port %d", c.buses[i])
	l.set("cluster-node-timeout %d", options.NodeTimeout.Milliseconds())
	l.replicate(s)
	announced := "cluster-announce-port"
	if s.options.TLS != nil {
		l.set("tls-cluster yes")
		announced = "cluster-announce-tls-port"
	}
	if s.member.front != nil {
		_, port := split(s.member.front.Addr())
		l.set("%s %s", announced, port)
		_, bus := split(s.member.bus.Addr())
		l.set("cluster-announce-ip 127.0.0.1")
		l.set("cluster-announce-bus-port %s", bus)
		l.set("bind-source-addr %s", s.member.source)
	}
	return l.String()
}

// nodes is the whole cluster, as the i-th node would write it to its file: so nobody
// has to be introduced, which takes seconds.
func (c *RedisCluster) nodes(i int) string {
	var l lines
	for n, s := range c.Nodes {
		bus := strconv.Itoa(c.buses[n])
		if s.member.bus != nil {
			_, bus = split(s.member.bus.Addr())
		}
		flags, master, own := "master", "-", ""
		if n >= primaries {
			flags, master = "slave", c.ids[c.Nodes[n-primaries]]
		} else {
			own = fmt.Sprintf(" %d-%d", n*slots/primaries, (n+1)*slots/primaries-1)
		}
		if n == i {
			flags = "myself," + flags
		}
		l.set("%s %s@%s %s %s 0 0 %d connected%s", c.ids[s], s.Announced(), bus, flags, master, n%primaries+1, own)
	}
	l.set("vars currentEpoch %d lastVoteEpoch 0", primaries)
	return l.String()
}

// Addrs returns the addresses of the nodes.
func (c *RedisCluster) Addrs() []string { return announced(c.Nodes) }

// Ready waits until all nodes that run take the cluster for sound and agree who has
// which slot since when, and replicas have all of their primaries.
func (c *RedisCluster) Ready() {
	c.t.Helper()
	if !await(c.ready) {
		for _, s := range c.Nodes {
			nodes, err := s.Admin().ClusterNodes(context.Background()).Result()
			c.t.Logf("%s: %v\n%s", s.Addr(), err, nodes)
		}
		c.t.Fatalf("redis: cluster not sound within %v", patience)
	}
}

func (c *RedisCluster) ready() bool {
	agreed := ""
	for _, s := range c.Nodes {
		if !s.Running() {
			continue
		}
		ctx := context.Background()
		info, err := s.Admin().ClusterInfo(ctx).Result()
		if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_ok:"+strconv.Itoa(slots)) {
			return false
		}
		view, err := c.view(ctx, s)
		if err != nil {
			return false
		}
		slices.SortFunc(view, func(a, b clusterNode) int { return cmp.Compare(a.id, b.id) })
		var shape strings.Builder
		for _, n := range view {
			if strings.Contains(n.flags, "fail") || strings.Contains(n.flags, "handshake") {
				if server := c.byID(n.id); server != nil && server.Running() {
					return false
				}
				continue
			}
			if !n.myself() && n.link != "connected" {
				return false
			}
			fmt.Fprintln(&shape, n.id, n.master, n.epoch, n.slots)
			if n.myself() && n.master != "-" && !inSync([]*RedisServer{s}) {
				return false
			}
		}
		if agreed != "" && agreed != shape.String() {
			return false
		}
		agreed = shape.String()
	}
	return agreed != ""
}

// clusterNode is a line of CLUSTER NODES.
type clusterNode struct {
	id, flags, master, link string
	epoch                   int
	slots                   []string // ranges, and slots that move
}

func (n clusterNode) myself() bool  { return strings.Contains(n.flags, "myself") }
func (n clusterNode) primary() bool { return strings.Contains(n.flags, "master") }

// has says whether the node has a slot.
func (n clusterNode) has(slot int) bool {
	for _, r := range n.slots {
		first, last, isRange := strings.Cut(r, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err1 == nil && err2 == nil && from <= slot && slot <= to {
			return true
		}
	}
	return false
}

// view returns the cluster as a node sees it.
func (c *RedisCluster) view(ctx context.Context, s *RedisServer) (all []clusterNode, err error) {
	text, err := s.Admin().ClusterNodes(ctx).Result()
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 {
			return nil, fmt.Errorf("CLUSTER NODES: %q", line)
		}
		epoch, _ := strconv.Atoi(f[6])
		all = append(all, clusterNode{id: f[0], flags: f[2], master: f[3], epoch: epoch, link: f[7], slots: f[8:]})
	}
	return all, nil
}

func (c *RedisCluster) byID(id string) *RedisServer {
	for s, own := range c.ids {
		if own == id {
			return s
		}
	}
	return nil
}

// self returns what a node that runs says of itself; nil if it says nothing.
func (c *RedisCluster) self(s *RedisServer) *clusterNode {
	if !s.Running() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	view, err := c.view(ctx, s)
	if err != nil {
		return nil
	}
	for _, n := range view {
		if n.myself() {
			return &n
		}
	}
	return nil
}

// Owner returns the primary that has the slot of a key now: of those that run, the one
// with the highest epoch that claims it; nil if none does.
func (c *RedisCluster) Owner(key string) *RedisServer {
	slot := Slot(key)
	var owner *RedisServer
	epoch := -1
	for _, s := range c.Nodes {
		if n := c.self(s); n != nil && n.primary() && n.has(slot) && n.epoch > epoch {
			owner, epoch = s, n.epoch
		}
	}
	return owner
}

// Primaries returns the nodes that run and have slots.
func (c *RedisCluster) Primaries() (all []*RedisServer) {
	for _, s := range c.Nodes {
		if n := c.self(s); n != nil && n.primary() && len(n.slots) > 0 {
			all = append(all, s)
		}
	}
	return all
}

// Replica returns a replica of a node that runs; nil if there is none.
func (c *RedisCluster) Replica(of *RedisServer) *RedisServer {
	for _, s := range c.Nodes {
		if n := c.self(s); n != nil && n.master == c.ids[of] {
			return s
		}
	}
	return nil
}

// ID returns a node's name in the cluster.
func (c *RedisCluster) ID(s *RedisServer) string { return c.ids[s] }

// Isolate cuts a node off from the others until Heal. Clients still reach it, unless
// clients is false. The cluster must be Proxied.
func (c *RedisCluster) Isolate(s *RedisServer, clients bool) { isolate(c.Nodes, s, clients) }

// Heal ends all isolation.
func (c *RedisCluster) Heal() { heal(c.Nodes) }
