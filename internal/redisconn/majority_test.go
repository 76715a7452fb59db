package redisconn

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/redisconn/quorum"
)

// five are the nodes of a cluster.
var five = []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1", "10.0.0.5:1"}

// TestWhoseWordCounts: what has to be said so that a connection to node 1 is left for node 2.
func TestWhoseWordCounts(t *testing.T) {
	for name, test := range map[string]struct {
		say  map[string]answering // besides those who name node 1
		left bool
	}{
		"nobody":                             {nil, false},
		"a minority":                         {map[string]answering{"10.0.0.2:1": names("10.0.0.2:1", five...), "10.0.0.3:1": names("10.0.0.2:1", five...)}, false},
		"one, as all others stand":           {map[string]answering{"10.0.0.1:1": stands, "10.0.0.2:1": names("10.0.0.2:1", five...), "10.0.0.3:1": stands, "10.0.0.4:1": stands, "10.0.0.5:1": stands}, false},
		"one at once, others later":          {map[string]answering{"10.0.0.1:1": slowly(names("10.0.0.1:1", five...)), "10.0.0.2:1": names("10.0.0.2:1", five...), "10.0.0.3:1": slowly(names("10.0.0.1:1", five...)), "10.0.0.4:1": slowly(names("10.0.0.1:1", five...)), "10.0.0.5:1": slowly(names("10.0.0.1:1", five...))}, false},
		"the majority":                       {map[string]answering{"10.0.0.2:1": names("10.0.0.2:1", five...), "10.0.0.3:1": names("10.0.0.2:1", five...), "10.0.0.4:1": names("10.0.0.2:1", five...)}, true},
		"most of those who do not stand":     {map[string]answering{"10.0.0.1:1": stands, "10.0.0.2:1": names("10.0.0.2:1", five...), "10.0.0.3:1": names("10.0.0.2:1", five...), "10.0.0.4:1": stands, "10.0.0.5:1": stands}, true},
		"node 1 itself, as all others stand": {map[string]answering{"10.0.0.1:1": names("10.0.0.2:1", five...), "10.0.0.2:1": stands, "10.0.0.3:1": stands, "10.0.0.4:1": stands, "10.0.0.5:1": stands}, true},
		"most, while node 1 claims it":       {map[string]answering{"10.0.0.2:1": names("10.0.0.2:1", five...), "10.0.0.3:1": names("10.0.0.2:1", five...), "10.0.0.4:1": names("10.0.0.2:1", five...), "10.0.0.5:1": stands}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n nodes
				for _, addr := range five {
					n.become(addr, names("10.0.0.1:1", five...))
				}
				conn, err := NewRouter(n.clusterClient(t, five...)).Connect(t.Context(), "k", Settings{})
				require.NoError(t, err)
				defer conn.Close()
				for addr, answers := range test.say {
					n.become(addr, answers)
				}
				<-time.After(30 * time.Second)
				if !test.left {
					assert.NoError(t, conn.Err())
					return
				}
				var left *LeftError
				require.ErrorAs(t, conn.Err(), &left)
				assert.Equal(t, LeftError{From: "10.0.0.1:1", To: "10.0.0.2:1"}, *left)
			})
		})
	}
}

// slowly answers later, but within the council's patience.
func slowly(answers answering) answering {
	return func(words []string) string {
		<-time.After(patience / 2)
		return answers(words)
	}
}

// TestTheSilentAreNotWaitedForAgain: a council of eight nodes, of whom three do not answer.
// From the third question on, none of them has a seat.
func TestTheSilentAreNotWaitedForAgain(t *testing.T) {
	all := []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1", "10.0.0.5:1", "10.0.0.6:1", "10.0.0.7:1", "10.0.0.8:1"}
	for name, silent := range map[string]answering{"stand": stands, "gone": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n nodes
				for _, addr := range all {
					n.become(addr, names("10.0.0.1:1", all...))
				}
				for _, addr := range all[1:4] {
					n.become(addr, silent)
				}
				c := newCouncil(t.Context(), n.clusterClient(t, all...), "k", &members{addrs: all})
				defer c.close()
				for question := range 10 {
					begun := time.Now()
					v, err := c.ask(t.Context(), quorum.Node{Addr: "10.0.0.1:1"})
					require.NoError(t, err)
					assert.Equal(t, quorum.Verdict{Owner: v.Owner, Sure: true}, v)
					assert.Equal(t, "10.0.0.1:1", v.Owner.Addr)
					assert.LessOrEqual(t, time.Since(begun), patience)
					if question >= 2 {
						assert.Zero(t, time.Since(begun), "question %d", question)
						synctest.Wait() // who is asked may not be needed
						for _, addr := range all[5:] {
							assert.Equal(t, 1, n.dials(addr), addr)
						}
					}
					<-time.After(lookOften)
				}
				for _, addr := range all[1:4] {
					assert.LessOrEqual(t, n.dials(addr), 1, addr)
				}
			})
		})
	}
}

// TestACouncilWhoseSeatsAreDead asks whom else the application, or the client, knows.
func TestACouncilWhoseSeatsAreDead(t *testing.T) {
	for name, test := range map[string]struct {
		known []string // to the council
		dead  string   // after the client has used it
	}{
		"those it knows are gone, those that are configured are not":    {known: []string{"10.0.0.8:1", "10.0.0.9:1"}},
		"those that are configured are gone, but the client met node 2": {dead: "10.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n nodes
				n.become("10.0.0.1:1", names("10.0.0.2:1", "10.0.0.1:1"))
				n.become("10.0.0.2:1", names("10.0.0.2:1", "10.0.0.1:1"))
				client := n.clusterClient(t, "10.0.0.1:1")
				require.NoError(t, client.ForEachShard(t.Context(), func(context.Context, *redis.Client) error { return nil })) // it learns the nodes
				if test.dead != "" {
					n.become(test.dead, nil)
				}
				c := newCouncil(t.Context(), client, "k", &members{addrs: test.known})
				defer c.close()
				v, err := c.ask(t.Context(), quorum.Node{})
				require.NoError(t, err)
				assert.Equal(t, "10.0.0.2:1", v.Owner.Addr)
			})
		})
	}
}

// TestAConnectionToWhichAnotherNodeSent stays until that node has given the slot away, as
// others may hear of it later; and is watched from then on.
func TestAConnectionToWhichAnotherNodeSent(t *testing.T) {
	all := []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"}
	for name, test := range map[string]struct {
		hear []string // whom all name in turn
		left string
	}{
		"the slot never comes":           {[]string{"10.0.0.1:1"}, ""},
		"it comes":                       {[]string{"10.0.0.1:1", "10.0.0.2:1"}, ""},
		"it goes to a third node":        {[]string{"10.0.0.1:1", "10.0.0.3:1"}, "10.0.0.3:1"},
		"it comes, and goes again later": {[]string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"}, "10.0.0.3:1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n nodes
				say := func(owner string) {
					for _, addr := range all {
						n.become(addr, names(owner, all...))
					}
				}
				say("10.0.0.1:1")
				conn, err := NewRouter(n.clusterClient(t, all...)).ConnectTo(t.Context(), "10.0.0.2:1", Settings{})
				require.NoError(t, err)
				defer conn.Close()
				for _, owner := range test.hear {
					say(owner)
					<-time.After(30 * time.Second)
				}
				if test.left == "" {
					assert.NoError(t, conn.Err())
					return
				}
				var left *LeftError
				require.ErrorAs(t, conn.Err(), &left)
				assert.Equal(t, LeftError{From: "10.0.0.2:1", To: test.left}, *left)
			})
		})
	}
}
