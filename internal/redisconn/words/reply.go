package words

import "strings"

// A Kind is what a client connects to.
type Kind int

// The kinds of clients.
const (
	OneServer Kind = iota
	ThroughSentinels
	Cluster
)

// Reply says what an answer of Redis means to a client, and what to do about it, or "".
func Reply(reply string, k Kind) string {
	for _, row := range replies {
		if !row.begins(reply) {
			continue
		}
		switch {
		case k == Cluster && row.cluster != "":
			return row.cluster
		case k == ThroughSentinels && row.sentinels != "":
			return row.sentinels
		}
		return row.words
	}
	return ""
}

// replyRow is what answers that begin with a word mean.
type replyRow struct {
	word      string // what they begin with
	also      string // and contain
	words     string
	cluster   string // instead, to the client of a cluster; "" means the same
	sentinels string // instead, to a client of Sentinels; "" means the same
}

func (r replyRow) begins(reply string) bool {
	return strings.HasPrefix(reply, r.word) && strings.Contains(strings.ToLower(reply), r.also)
}

// replies are looked through from the first.
var replies = []replyRow{
	{word: "MOVED ", words: nodeOfCluster, cluster: "the slot is at another node; it is followed"},
	{word: "ASK ", words: nodeOfCluster, cluster: "the slot moves to another node; it is followed"},
	{word: "CROSSSLOT", words: nodeOfCluster, cluster: "keys of one command must be in one slot"},
	{word: "TRYAGAIN", words: nodeOfCluster, cluster: "the slot moves to another node; it is tried again"},
	{word: "CLUSTERDOWN", words: nodeOfCluster + "; that Cluster lacks nodes now",
		cluster: "the Cluster lacks nodes; it is tried again until they are back or replaced"},
	{word: "LOADING", words: "the server reads its data after a start; it is tried again"},
	{word: "MASTERDOWN", words: replicaOnly + ", or the replica's link to it mended", sentinels: replicaFor, cluster: replicaIn},
	{word: "READONLY", words: replicaOnly, sentinels: replicaFor, cluster: replicaIn},
	{word: "NOAUTH", words: "the server wants a password: expected options password and, for an ACL user, username"},
	{word: "WRONGPASS", words: "the server does not take the username and password: expected others in options username and password, or the user enabled"},
	{word: "ERR", also: "invalid password", words: "expected another one in option password"},
	{word: "ERR", also: "without any password configured", words: "the server has no password: expected none in option password"},
	{word: "ERR", also: "no password is set", words: "the server has no password: expected none in option password"},
	{word: "NOPERM", also: "access a channel", words: channelRight},
	{word: "NOPERM", also: "channels used", words: channelRight}, // of Redis 6
	{word: "NOPERM", also: "' channel", words: channelRight},
	{word: "NOPERM", also: "access a key", words: keyRight},
	{word: "NOPERM", also: "' key", words: keyRight},
	{word: "NOPERM", also: "keys used", words: keyRight}, // of Redis 6
	{word: "NOPERM", words: "the user lacks a right to the command: grant it with +command (docs/redis.md)"},
	{word: "ERR", also: "the user executing the script can't publish", words: channelRight}, // until Redis 7.0
	{word: "ERR", also: "the user executing the script can't access", words: keyRight},
	{word: "ERR", also: "the user executing the script can't run", words: scriptRights}, // which it does not name
	{word: "ERR", also: "acl failure in script: no permissions to access a channel", words: channelRight},
	{word: "ERR", also: "acl failure in script: no permissions to access a key", words: keyRight},
	{word: "ERR", also: "access one of the channels", words: channelRight},
	{word: "ERR", also: "access one of the keys", words: keyRight},
	{word: "OOM", words: "the server has no memory for more: raise maxmemory, or evict keys of others"},
	{word: "MISCONF", words: "the server cannot write its data to disk, and its log says why"},
	{word: "NOREPLICAS", words: "the server has too few replicas to take writes (min-replicas-to-write); it is tried again"},
	{word: "BUSY ", words: "a script runs at the server; it is tried again (SCRIPT KILL ends the script)"},
	{word: "DENIED", words: "the server takes no connections from other hosts: it needs a password, or protected-mode no"},
	{word: "WRONGTYPE", words: "the key holds something else: expected one that only tracbus writes to"},
	{word: "NOPROTO", words: "the server or a proxy before it does not speak this version of Redis's protocol"},
	{word: "ERR", also: "max number of clients", words: "the server has no place for another connection: raise its maxclients, or close some"},
	{word: "ERR", also: "cluster support disabled", words: "the server is no node of a Cluster: expected host and port, or url, in the place of cluster_addrs"},
	{word: "ERR", also: "select is not allowed in cluster mode", words: nodeOfCluster},
	{word: "ERR", also: "db index is out of range", words: "the server has fewer databases: expected a smaller number in option db"},
	{word: "ERR", also: "unknown command 'sentinel", words: "what answers is no Sentinel: expected the Sentinels in sentinel_addrs (their port is 26379 as a rule)"},
	{word: "ERR", also: "unknown command 'publish", words: noCommand},
	{word: "ERR", also: "unknown command", words: noCommand},
}

const (
	nodeOfCluster = "the server is a node of a Redis Cluster: expected cluster_addrs"
	replicaOnly   = "the server is a replica: expected its master, or Sentinels that know it (master_name)"
	replicaFor    = "the server is a replica; the Sentinels are asked again for its master"
	replicaIn     = "the node is a replica; the Cluster is asked again for its master"
	channelRight  = "the user lacks a right to the channel: grant it, as &trac.* is (docs/redis.md)"
	keyRight      = "the user lacks a right to the key: grant it, as ~tracbus:* is (docs/redis.md)"
	scriptRights  = "the user lacks one of the rights that the script needs: +publish +hmget +hset +time, and with a stream +xadd +xtrim +xrange +xlen +xinfo|stream"
	noCommand     = "the server does not know the command: expected no Sentinel (those go into sentinel_addrs), and no command renamed"
)
