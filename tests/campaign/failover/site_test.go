package failover_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// The topologies of a campaign.
const (
	onPlain    = "Plain" // an address that can lead to one server or another
	onSentinel = "Sentinel"
	onCluster  = "Cluster"
)

// The key whose slot a publisher without a stream uses in a cluster, and the streams
// of a campaign: one in the same slot, one at another node.
const (
	channelsKey = "tracbus"
	nearStream  = "{tracbus}:changes"
	apartStream = "trac:changes"
	masterName  = "tracmaster"
)

// password is that of all servers, which nobody may tell.
const password = "swordfish-of-the-campaign"

// site is where Redis runs.
type site struct {
	topology  string
	sentinels *testserver.SentinelGroup
	cluster   *testserver.RedisCluster
	servers   []*testserver.RedisServer // a plain address leads to the first one, at first
	addr      *testserver.TCPProxy      // the plain address
	leadsTo   atomic.Int32              // a server's number
	stream    string
	key       string // the fault is for who has this one
}

// newSite starts servers for a fault.
func newSite(t testing.TB, topology string, f fault) *site {
	t.Helper()
	s := &site{topology: topology, stream: nearStream, key: channelsKey}
	options := testserver.RedisOptions{Password: password}
	switch topology {
	case onSentinel:
		s.sentinels = testserver.Sentinel(t, testserver.SentinelOptions{MasterName: masterName, Servers: options, Proxied: f.proxied})
		s.servers = s.sentinels.Servers
	case onCluster:
		options.Args = []string{"--enable-debug-command", "yes"}
		s.cluster = testserver.Cluster(t, testserver.ClusterOptions{Nodes: options, Proxied: f.proxied})
		s.servers = s.cluster.Nodes
		if f.apart {
			s.stream, s.key = apartStream, apartStream
		}
	default:
		options.Args = []string{"--repl-diskless-sync-delay", "0"}
		s.servers = []*testserver.RedisServer{testserver.Redis(t, options)}
		options.Args = append(options.Args, "--masterauth", password, "--replicaof", "127.0.0.1", strconv.Itoa(s.servers[0].Port()))
		s.servers = append(s.servers, testserver.Redis(t, options))
		testkit.Until(t, "the replica has what there is", func() bool {
			info, err := s.servers[1].Admin().Info(t.Context(), "replication").Result()
			return err == nil && strings.Contains(info, "master_link_status:up")
		})
		s.addr = testserver.Proxy(t, s.servers[0].Addr())
	}
	return s
}

// addrs is what clients are given.
func (s *site) addrs() []string {
	switch s.topology {
	case onSentinel:
		return s.sentinels.Addrs()
	case onCluster:
		return s.cluster.Addrs()
	}
	return []string{s.addr.Addr()}
}

// lead has the plain address lead to another server.
func (s *site) lead(server int) {
	s.leadsTo.Store(int32(server))
	s.addr.Redirect(s.servers[server].Addr())
}

// direct are the servers' own addresses.
func (s *site) direct() (addrs []string) {
	for _, server := range s.servers {
		addrs = append(addrs, server.Addr())
	}
	return addrs
}

// number finds a server by the address that others know.
func (s *site) number(addr string) int {
	return slices.IndexFunc(s.servers, func(server *testserver.RedisServer) bool { return server.Announced() == addr })
}

// observe starts to ask who serves the key.
func (s *site) observe(t testing.TB) *observer {
	var voters []voter
	ask := func(addr, password string) *redis.Client {
		c := redis.NewClient(&redis.Options{
			Addr: addr, Password: password, MaxRetries: -1, DialTimeout: lookPatience, ReadTimeout: lookPatience, ContextTimeoutEnabled: true,
			DialerRetries: 1, PoolSize: 1,
		})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	var clients []*redis.Client
	for _, addr := range s.direct() {
		clients = append(clients, ask(addr, password))
	}
	isMaster := func(ctx context.Context, server int) bool {
		role, err := clients[server].Do(ctx, "role").Slice()
		return err == nil && len(role) > 0 && role[0] == "master"
	}
	switch s.topology {
	case onPlain:
		return observe(t, []voter{addressVoter{s}}, isMaster)
	case onSentinel:
		for _, sentinel := range s.sentinels.Sentinels {
			voters = append(voters, sentinelVoter{s, ask(sentinel.Addr(), "")})
		}
		return observe(t, voters, isMaster)
	}
	for _, c := range clients {
		voters = append(voters, nodeVoter{s, c, int64(testserver.Slot(s.key))})
	}
	return observe(t, voters, func(ctx context.Context, server int) bool {
		return clients[server].Exists(ctx, s.key).Err() == nil // else MOVED, CLUSTERDOWN or nothing
	})
}

type addressVoter struct{ *site }

func (v addressVoter) vote(context.Context) (int, error) { return int(v.leadsTo.Load()), nil }

type sentinelVoter struct {
	*site
	client *redis.Client
}

func (v sentinelVoter) vote(ctx context.Context) (int, error) {
	addr, err := v.client.Do(ctx, "sentinel", "get-master-addr-by-name", masterName).StringSlice()
	if err != nil {
		return nobody, err
	}
	return v.number(strings.Join(addr, ":")), nil
}

type nodeVoter struct {
	*site
	client *redis.Client
	slot   int64
}

func (v nodeVoter) vote(ctx context.Context) (int, error) {
	answer, err := v.client.Do(ctx, "cluster", "slots").Slice()
	if err != nil {
		return nobody, err
	}
	for _, part := range answer { // from, to, the primary as host and port and more, replicas
		part, _ := part.([]any)
		if len(part) < 3 {
			continue
		}
		from, _ := part[0].(int64)
		to, _ := part[1].(int64)
		if node, _ := part[2].([]any); from <= v.slot && v.slot <= to && len(node) > 1 {
			return v.number(fmt.Sprintf("%v:%v", node[0], node[1])), nil
		}
	}
	return nobody, nil
}

// replicaOf returns a replica of a server.
func (s *site) replicaOf(server int) *testserver.RedisServer {
	if s.cluster != nil {
		return s.cluster.Replica(s.servers[server])
	}
	return s.servers[(server+1)%len(s.servers)]
}

// replicas returns all replicas of a server.
func (s *site) replicas(server int) (all []*testserver.RedisServer) {
	if s.cluster != nil {
		return []*testserver.RedisServer{s.cluster.Replica(s.servers[server])}
	}
	for i, r := range s.servers {
		if i != server {
			all = append(all, r)
		}
	}
	return all
}

// order sends a server a command, as an administrator does.
func order(t testing.TB, server *testserver.RedisServer, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := server.Admin().Do(ctx, args...).Err(); err != nil {
		t.Logf("%v: %v", args, err)
	}
}
