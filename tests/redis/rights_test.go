package redis_test

import (
	"github.com/tracbus/tracbus/internal/testserver"
)

// right is a row of the documentation: what a user in a role may do.
type right struct {
	role  string
	what  string // as docs/redis.md has it
	rules string // for every kind of site
}

// The roles. A user of a test is named for his role.
const (
	publishes = "publishes"
	durable   = "durable"
	appends   = "appends"
	hears     = "hears"
	reads     = "reads"
	wakes     = "wakes"
)

// stream is the key of the stream in all tests here.
const stream = "changes"

// rights are the rows of docs/redis.md.
var rights = []right{
	{role: publishes, what: "publisher under `Primary` or `Everywhere`", rules: "resetchannels &trac.* +publish +client|kill +info"},
	{role: durable, what: "publisher under `Durable`", rules: "resetchannels &trac.* ~tracbus:* +evalsha +eval +publish +hmget +hset +time +info"},
	{role: appends, what: "the same with a stream `changes`", rules: "resetchannels &trac.* ~tracbus:* +evalsha +eval +publish +hmget +hset +time +info ~changes +xadd +xtrim +xrange +xlen +xinfo|stream"},
	{role: hears, what: "`Subscriber.Events`", rules: "resetchannels &trac.* +psubscribe +ping +info"},
	{role: reads, what: "`Subscriber.Stream`", rules: "~changes +xread +xinfo|stream +info"},
	{role: wakes, what: "`NewRedisWaker`", rules: "resetchannels &tracbus:* +publish +psubscribe +ping +info"},
}

// clusterRules is what every role needs in a Cluster besides.
const clusterRules = "+cluster|slots +cluster|links +asking"

// sentinelRules is what a user needs at the Sentinels.
const sentinelRules = "resetchannels &* +subscribe +sentinel|get-master-addr-by-name +sentinel|sentinels +sentinel|master +ping"

// users returns one user for each role, with his rights.
func users(kind string) (all []testserver.RedisUser) {
	for _, r := range rights {
		rules := r.rules
		if kind == cluster {
			rules += " " + clusterRules
		}
		all = append(all, testserver.RedisUser{Name: r.role, Password: passwordOf(r.role), Rules: rules})
	}
	return all
}
