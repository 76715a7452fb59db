package redisconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus/internal/redisconn/quorum"
)

// Place says where a connection leads to. What the server does not tell, or the
// user may not ask for, is empty.
type Place struct {
	// Addr is where the client connects: host:port or the path of a socket.
	Addr string

	// Remote is the address at the other end.
	Remote string

	// Client is the number that the server gave to the connection, or 0. A server
	// that was restarted counts from 1 again.
	Client int64

	// RunID names the run of the server.
	RunID string

	// Role is "master" or "replica".
	Role string

	// Primary is the server that a replica follows.
	Primary string

	// History names what the server and its replicas have in common.
	History string

	// Cluster says that the server is a node of a Redis Cluster.
	Cluster bool

	node    quorum.Node // that it is, if it was chosen in a cluster
	refused error       // Redis's answer to INFO if the user may not ask; then it is not asked again
}

// The roles that servers have.
const (
	roleMaster  = "master"
	roleReplica = "replica"
)

// name returns what distinguishes the server from others.
func (p Place) name() string { return cmp.Or(p.RunID, p.Remote, p.Addr) }

// became says in what the server, being the same, has changed so that messages may
// be lost; empty if in nothing. The history of a master may change by itself.
func (p Place) became(now Place) string {
	switch {
	case p.RunID == "" || p.RunID != now.RunID:
	case p.Role == roleMaster && now.Role == roleReplica:
		return fmt.Sprintf("%s was a primary, and is a replica of %s now", p, now.Primary)
	case p.Role == roleReplica && now.Role == roleMaster:
		return fmt.Sprintf("%s was a replica of %s, and is a primary now", p, p.Primary)
	case now.Role == roleReplica && (p.History != now.History || p.Primary != now.Primary):
		return fmt.Sprintf("%s was a replica of %s, and follows %s now", p, p.Primary, now.Primary)
	}
	return ""
}

// String returns the address, and what is at its other end if that differs.
func (p Place) String() string {
	if p.Remote == "" || p.Remote == p.Addr || strings.HasPrefix(p.Addr, "/") {
		return p.Addr
	}
	return fmt.Sprintf("%s (%s)", p.Addr, p.Remote)
}

// asker is what can be asked: a client, or a connection of one.
type asker interface {
	Pipeline() redis.Pipeliner
}

// ask completes the place, in one round trip. HELLO needs no right, INFO does. An
// error is a failure to get answers.
func (p *Place) ask(ctx context.Context, a asker) error {
	pipe := a.Pipeline()
	hello := redis.NewMapStringInterfaceCmd(ctx, "hello")
	_ = pipe.Process(ctx, NoRetry(hello)) // only queues it
	var infos []*redis.StringCmd
	if p.refused == nil { // each refusal is a line in Redis's log
		infos = []*redis.StringCmd{pipe.Info(ctx, "server"), pipe.Info(ctx, "replication")}
	}
	_, err := pipe.Exec(ctx)
	asked := hello.Err() != nil || hello.Val() != nil // else go-redis was refused when it introduced itself
	if err != nil && (!IsReply(err) || !asked) {
		return err
	}
	if IsReply(hello.Err(), "NOAUTH") { // else the first command is refused in words of the protocol
		return hello.Err()
	}
	greeting := hello.Val()
	p.Client, _ = greeting["id"].(int64)
	p.Role, _ = greeting["role"].(string)
	p.Cluster = greeting["mode"] == "cluster"
	if greeting["mode"] == "sentinel" {
		return errSentinel
	}
	text := ""
	for _, info := range infos {
		text += info.Val() + "\r\n"
		if err := info.Err(); IsReply(err, "NOPERM", "ERR unknown command") {
			p.refused = err
		}
	}
	about := fields(text)
	p.RunID, p.History = about["run_id"], about["master_replid"]
	p.Cluster = p.Cluster || about["redis_mode"] == "cluster"
	if role := about["role"]; role != "" {
		p.Role = strings.Replace(role, "slave", "replica", 1)
	}
	p.Primary = primaryIn(about)
	return nil
}

// errSentinel is that of a server which takes subscriptions, and publishes to nobody.
var errSentinel = errors.New("the server is a Sentinel: expected it in sentinel_addrs, and the name of its master in master_name")

// PrimaryIn returns the server that a replica follows by its INFO, or "".
func PrimaryIn(info string) string { return primaryIn(fields(info)) }

func primaryIn(about map[string]string) string {
	if about["master_host"] == "" {
		return ""
	}
	return net.JoinHostPort(about["master_host"], about["master_port"])
}

// fields reads what INFO answers.
func fields(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			all[name] = value
		}
	}
	return all
}
