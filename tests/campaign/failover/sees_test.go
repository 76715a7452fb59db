package failover_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// spoiledEnv has TestFailoverSeesFaults run: it takes some minutes.
const spoiledEnv = "TRACBUS_FAILOVER_SPOILED"

// What keeps publishers and subscribers where Redis is, and how each is switched off.
var (
	// Where a cluster has a slot is what go-redis remembers.
	routeOff = []record.Spoiling{
		{File: "internal/redisconn/council.go", Old: "	first := c.choose(before)\n",
			With: `	if m, err := c.cluster.MasterForKey(ctx, AnyKey); true {
		if err != nil {
			return quorum.Verdict{}, err
		}
		return quorum.Verdict{Owner: quorum.Node{Addr: m.Options().Addr, Said: m.Options().Addr}, Sure: true}, nil
	}
	first := c.choose(before)
`},
	}
	sentinelsOff = []record.Spoiling{
		{File: "internal/redisconn/lookout.go", Old: "askSentinels(all *sentinels) {\n", With: "askSentinels(all *sentinels) {\n	if true {\n		return\n	}\n"},
	}
	linksOff = []record.Spoiling{
		{File: "internal/redisconn/links.go", Old: "l.known != nil && !maps.Equal(now, l.known)", With: "l.known == nil && !maps.Equal(now, l.known)"},
	}
	replicaOff = []record.Spoiling{
		{File: "internal/redisconn/router.go", Old: "c.watching.Go(l.connectAgain)", With: "_ = l.connectAgain"},
		{File: "internal/publish/pipeline/role.go", Old: `s.hello.role() != "replica"`, With: "true"},
	}
	partingOff = []record.Spoiling{
		{File: "internal/redisconn/listen.go", Old: "				l.awaitPublishers(s, &watching)\n", With: ""},
	}
	secretsOff = []record.Spoiling{
		{File: "internal/redisconn/guard/secrets.go", Old: "return CutArguments(s.hideAnswer(text)) }", With: "return text }"},
		{File: "internal/redisconn/guard/secrets.go", Old: "func (s Secrets) Hide(text string) string {\n", With: "func (s Secrets) Hide(text string) string {\n	if true {\n		return text\n	}\n"},
		{File: "internal/redisconn/guard/arguments.go", Old: "func CutArguments(text string) string {\n", With: "func CutArguments(text string) string {\n	if true {\n		return text\n	}\n"},
	}
)

// spoiledRounds are the mends that are taken out, one in each round, and what is found then.
var spoiledRounds = []struct {
	name, topology, fault string
	spoil                 []record.Spoiling
	want                  int
}{
	{"route", onCluster, "kill -9", routeOff, isStuck},
	{"Sentinels", onSentinel, "FAILOVER, 4 s later no Sentinels", sentinelsOff, isStuck},
	{"links", onCluster, "bus links killed", linksOff, isSilent},
	{"replica", onPlain, "the address leads to a promoted replica", replicaOff, isStuck},
	{"parting", onPlain, "the address leads elsewhere, publishers stay", partingOff, isSilent},
	{"secrets", onPlain, "a server that quotes AUTH", secretsOff, isSecret},
}

// TestSpoilingsFit the source as it is, and what they make of it can be built.
func TestSpoilingsFit(t *testing.T) {
	var all []record.Spoiling
	for _, tc := range spoiledRounds {
		all = append(all, tc.spoil...)
	}
	record.SpoilingsFit(t, all)
}

// TestFailoverSeesFaults proves that the campaign's checker finds what it is for: with
// one mend taken out of the library it finds what that is against.
func TestFailoverSeesFaults(t *testing.T) {
	if os.Getenv(spoiledEnv) == "" {
		t.Skip("it takes some minutes: " + spoiledEnv + " has it run")
	}
	for _, tc := range spoiledRounds {
		t.Run(tc.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			program, seen := record.SpoiledBinary(t, tc.spoil), false
			for n := 1; n <= 3 && !seen; n++ { // one may strike when nothing is on its way
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					r := newRig(t, tc.topology, named(t, tc.fault), program)
					v := check(r.round())
					t.Log(r.report(v))
					seen = v.counts[tc.want] > 0
				})
			}
			if !seen {
				t.Errorf("the library is spoiled, and the checker finds no %q", kinds[tc.want])
			}
		})
	}
}

// named finds a fault.
func named(t *testing.T, name string) fault {
	t.Helper()
	for _, f := range faults {
		if strings.EqualFold(f.name, name) {
			return f
		}
	}
	t.Fatalf("no fault is called %q", name)
	return fault{}
}
