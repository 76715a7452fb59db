package redis_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// optional is a right without which a role works, though something is lost. All
// others are needed, and who lacks one says which.
type optional struct {
	roles []string
	right string
	says  string // what is said about it; "" if nothing is
}

var optionals = []optional{
	{roles: []string{publishes}, right: "+client|kill", says: "may also arrive late"}, // see lacking.repeats
	{roles: []string{publishes}, right: "+info", says: "may also arrive late"},
	{roles: []string{durable, appends, hears, reads, wakes}, right: "+info"},
	{roles: []string{hears, wakes}, right: "+ping"}, // a refusal is a sign of life as well
	{roles: []string{hears}, right: "+cluster|links", says: "+cluster|links"},
	{roles: []string{publishes, durable, appends, reads, wakes}, right: "+cluster|links"},
	{roles: []string{publishes, durable, appends, hears, reads, wakes}, right: "+asking"},
}

// sentinelOptionals are the rights at the Sentinels without which everybody works: go-redis
// itself would notice earlier with them that a Sentinel has come, or another master.
var sentinelOptionals = []string{"&*", "+subscribe", "+sentinel|sentinels", "+sentinel|master", "+ping"}

// TestRedisRights takes each right of each row of the documentation away from a user of
// his own. What he then says names the right, and he works when it is granted; or he
// works without it.
func TestRedisRights(t *testing.T) {
	testkit.NoLeaks(t)
	plain := testserver.Redis(t, testserver.RedisOptions{Users: nobody()})
	one := &site{kind: server, users: true, config: tracbus.RedisConfig{Addr: plain.Addr()}, servers: []*testserver.RedisServer{plain}}
	group := sentinelSite(t, nil)
	var users atomic.Int64
	for _, s := range []*site{one, group, clusterSite(t, nil)} {
		o := newOmnipotent(t, s)
		for _, r := range rights {
			if s.kind == sentinel && (r.role == durable || r.role == appends) && !long() {
				continue // it is a server's as any other, where they lack the same
			}
			rules := strings.Fields(r.rules)
			if s.kind == cluster {
				rules = append(rules, strings.Fields(clusterRules)...)
			}
			for _, right := range rules {
				if right == "resetchannels" {
					continue
				}
				t.Run(s.kind+"/"+r.role+"/"+right, func(t *testing.T) {
					t.Parallel()
					l := &lacking{site: s, t: t, omnipotent: o, name: fmt.Sprint("u", users.Add(1)), role: r.role, right: right, printed: listenFor(t)}
					l.enrol(rules)
					i := slices.IndexFunc(optionals, func(o optional) bool { return o.right == right && slices.Contains(o.roles, r.role) })
					if i >= 0 {
						l.worksWithout(optionals[i].says)
						return
					}
					l.needs(func() { s.on(t, "acl", "setuser", l.name, l.own(right)) })
				})
			}
		}
	}
	o := newOmnipotent(t, group)
	for _, role := range []string{publishes, hears} {
		for _, right := range strings.Fields(sentinelRules) {
			if right == "resetchannels" {
				continue
			}
			t.Run("at Sentinels/"+role+"/"+right, func(t *testing.T) {
				t.Parallel()
				l := &lacking{site: group, t: t, omnipotent: o, name: fmt.Sprint("u", users.Add(1)), role: role, right: right, printed: listenFor(t)}
				l.enrolAtSentinels()
				if slices.Contains(sentinelOptionals, right) {
					l.worksWithout("")
					return
				}
				l.needs(func() { l.atSentinels("acl", "setuser", l.name, right) })
			})
		}
	}
}

// words are what is said when a right lacks: Redis does not say which channel or key.
func (l *lacking) words() string {
	switch l.right[0] {
	case '&':
		return "right to the channel"
	case '~':
		return "right to the key"
	}
	return l.right[1:]
}

// needs has the user work without a right that he needs, and then with it.
func (l *lacking) needs(grant func()) {
	t := l.t
	t.Helper()
	works := l.begins()
	testkit.Until(t, "the right is named", func() bool {
		if l.right == "+eval" { // or somebody else has brought the script
			l.on(t, "script", "flush")
		}
		works()
		return len(l.troubles()) > 0
	})
	if l.right != "+eval" {
		// A journal that cannot be woken looks once by itself when it notices that.
		testkit.Until(t, "it does not work without "+l.right, func() bool { return !works() })
	}
	assert.Contains(t, strings.ToLower(l.troubles()[0]), l.words())
	grant()
	testkit.Until(t, "it works with "+l.right, works)
}

// worksWithout has the user work without a right that he does not need.
func (l *lacking) worksWithout(says string) {
	t := l.t
	t.Helper()
	if l.role == publishes && says != "" {
		if l.kind == server {
			l.repeats(says)
			return
		}
		says = "" // it is as at one server, where it costs seconds to see
	}
	works := l.begins()
	testkit.Until(t, "it works without "+l.right, works)
	if says != "" {
		testkit.Until(t, "it is said what is lost", func() bool { return len(l.troubles()) > 0 })
	}
	for range 3 {
		testkit.Until(t, "it goes on without "+l.right, works)
	}
	if says == "" {
		for _, line := range l.troubles() {
			assert.Contains(t, line, l.right)
		}
		return
	}
	if assert.Len(t, l.troubles(), 1) {
		assert.Contains(t, l.troubles()[0], says)
	}
}

// repeats has a publisher send again what was not answered. He would end the
// connection that carried it before, but may not.
func (l *lacking) repeats(says string) {
	t := l.t
	t.Helper()
	front := testserver.Proxy(t, l.servers[0].Addr())
	l.site = &site{kind: server, users: true, servers: l.servers, config: tracbus.RedisConfig{Addr: front.Addr()}}
	works := l.begins()
	testkit.Until(t, "it works without "+l.right, works)
	before := l.troubles()
	for _, line := range before {
		require.Contains(t, line, "may be elsewhere unnoticed")
	}
	front.DropReplies()
	works()
	testkit.Until(t, "Redis is away", func() bool { return len(l.troubles()) > len(before) })
	front.Resume()
	testkit.Until(t, "it is said what is lost", func() bool { return strings.Contains(strings.Join(l.troubles(), "\n"), says) })
	testkit.Until(t, "it goes on without "+l.right, works)
}

// enrol makes the user, with the rules but one.
func (l *lacking) enrol(rules []string) {
	args := []any{"acl", "setuser", l.name, "on", ">" + passwordOf(l.name)}
	for _, rule := range rules {
		if rule != l.right {
			args = append(args, l.own(rule))
		}
	}
	l.on(l.t, args...)
}

// own is a rule for the user's own stream, if he appends to one.
func (l *lacking) own(rule string) string {
	if l.role == appends && rule == "~"+stream {
		return "~" + l.name
	}
	return rule
}

// enrolAtSentinels makes the user there with the rules but one, and at the servers with all.
func (l *lacking) enrolAtSentinels() {
	at := []any{"acl", "setuser", l.name, "on", ">" + passwordOf(l.name)}
	for _, rule := range strings.Fields(sentinelRules) {
		if rule != l.right {
			at = append(at, rule)
		}
	}
	l.atSentinels(at...)
	s := *l.site
	s.config.Sentinel.Username, s.config.Sentinel.Password = l.name, tracbus.NewSecret(passwordOf(l.name))
	l.site = &s
	i := slices.IndexFunc(rights, func(r right) bool { return r.role == l.role })
	right := l.right
	l.right = ""
	l.enrol(strings.Fields(rights[i].rules))
	l.right = right
}

func (l *lacking) atSentinels(args ...any) {
	l.t.Helper()
	for _, s := range l.group.Sentinels {
		require.NoError(l.t, s.Admin().Do(context.Background(), args...).Err(), fmt.Sprint(args...))
	}
}
