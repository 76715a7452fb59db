package quorum

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
)

// TestSlotOf compares with what Redis says.
func TestSlotOf(t *testing.T) {
	for key, slot := range map[string]int{"123456789": 0x31c3, "tracbus": SlotOf("{tracbus}:x"), "{}x": SlotOf("{}x"), "a{b}c": SlotOf("b"), "{": SlotOf("{")} {
		assert.Equal(t, slot, SlotOf(key), key)
	}
	assert.NotEqual(t, SlotOf("x"), SlotOf("{}x"), "an empty tag is none")
}

// TestTally: whom do the nodes name?
func TestTally(t *testing.T) {
	a, b, c := Node{ID: "A", Addr: "a"}, Node{ID: "B", Addr: "b"}, Node{ID: "C", Addr: "c"}
	type says struct {
		by   string
		name Node
	}
	for name, test := range map[string]struct {
		before Node
		asked  int
		said   []says
		want   Verdict
		none   bool
	}{
		"nobody answers":                     {asked: 3, none: true},
		"all agree":                          {a, 3, []says{{"a", a}, {"b", a}}, Verdict{Owner: a, Sure: true}, false},
		"too few to leave":                   {a, 5, []says{{"b", b}, {"c", b}}, Verdict{Owner: b}, false},
		"enough to leave":                    {a, 5, []says{{"b", b}, {"c", b}, {"d", b}}, Verdict{Owner: b, Sure: true}, false},
		"it says itself that it is replaced": {a, 5, []says{{"c", a}, {"a", b}}, Verdict{Owner: b, Sure: true}, false},
		"it has not heard":                   {a, 3, []says{{"a", a}, {"b", b}, {"c", b}}, Verdict{Owner: b, Sure: true, Contested: true}, false},
		"a draw at the beginning":            {Node{}, 2, []says{{"a", a}, {"c", b}}, Verdict{Owner: b}, false},
		"the same draw":                      {Node{}, 2, []says{{"c", b}, {"a", a}}, Verdict{Owner: b}, false},
		"another address of the same node":   {a, 3, []says{{"b", Node{ID: "A", Addr: "x"}}, {"c", Node{ID: "A", Addr: "y"}}}, Verdict{Owner: Node{ID: "A", Addr: "x"}, Sure: true}, false},
		"three opinions":                     {c, 3, []says{{"a", a}, {"b", b}, {"d", b}}, Verdict{Owner: b, Sure: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			count := Tally{Before: test.before, Asked: test.asked}
			for _, s := range test.said {
				count.Add(s.by, s.name)
			}
			got, ok := count.Verdict()
			assert.Equal(t, !test.none, ok)
			assert.Equal(t, test.want, got)
		})
	}
}

// TestNamed: how nodes are named, and what go-redis makes of it.
func TestNamed(t *testing.T) {
	for said, want := range map[[2]string]string{
		{"10.0.0.1:7000", "10.0.0.2:7001"}:   "10.0.0.1:7000",
		{":7000", "10.0.0.2:7001"}:           "10.0.0.2:7000",
		{"?:7000", "10.0.0.2:7001"}:          "10.0.0.2:7000",
		{"127.0.0.1:7000", "10.0.0.2:7001"}:  "10.0.0.2:7000",
		{"127.0.0.1:7000", "localhost:7001"}: "127.0.0.1:7000",
		{"10.0.0.1:0", "10.0.0.2:7001"}:      "10.0.0.1:7001",
		{"name.example:7000", "[::1]:7001"}:  "name.example:7000",
	} {
		assert.Equal(t, want, Named(redis.ClusterNode{Addr: said[0]}, said[1]).Addr, "%v", said)
	}
}

// Three of five do not answer, and the isolated node claims the slot: the other two
// are enough when they have been waited for.
func TestTallyOfThoseWhoAnswer(t *testing.T) {
	count := Tally{Before: Node{Addr: "a:1"}, Asked: 5}
	count.Add("a:1", Node{Addr: "a:1"})
	count.Add("b:1", Node{Addr: "b:1"})
	count.Add("c:1", Node{Addr: "b:1"})
	v, ok := count.Verdict()
	assert.True(t, ok)
	assert.False(t, v.Sure)
	count.Late = true
	v, _ = count.Verdict()
	assert.True(t, v.Sure && v.Contested)
	assert.Equal(t, "b:1", v.Owner.Addr)

	alone := Tally{Asked: 5, Late: true}
	alone.Add("b:1", Node{Addr: "b:1"})
	v, _ = alone.Verdict()
	assert.False(t, v.Sure, "one alone")
}
