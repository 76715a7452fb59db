package persistent

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSetAgainstAMap lets a set grow, shrink and grow again, and compares it with
// a map all the way.
func TestSetAgainstAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	set, want := NewSet(nil), map[string]bool{}
	for step := range 20_000 {
		member := fmt.Sprint(random.IntN(2000))
		before, had := set, want[member]
		if grows := step/5000%2 == 0; random.IntN(4) == 0 != grows {
			set, want[member] = set.With(member), true
			require.True(t, set.Has(member))
			require.Equal(t, had, set == before, "the same set if nothing is different")
		} else {
			set = set.Without(member)
			delete(want, member)
			require.False(t, set.Has(member))
			require.Equal(t, !had, set == before, "the same set if nothing is different")
		}
		require.Equal(t, had, before.Has(member), "the set before does not change")
		require.Equal(t, len(want), set.Len(), "after step %d", step)
		if step%1000 == 0 {
			require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(set.All()), "after step %d", step)
		}
	}
}

func TestNewSet(t *testing.T) {
	set := NewSet([]string{"b", "a", "", "b"})
	assert.Equal(t, 3, set.Len())
	assert.Equal(t, []string{"", "a", "b"}, slices.Sorted(set.All()))
	assert.True(t, set.Has(""))
	assert.False(t, set.Has("c"))
	for range set.All() {
		break // as a loop may
	}
}

// TestSetSharesWhatIsTheSame counts what one change of a large set allocates:
// the nodes on the way to it, and not the set.
func TestSetSharesWhatIsTheSame(t *testing.T) {
	all := make([]string, 100_000)
	for i := range all {
		all[i] = fmt.Sprint("Page", i)
	}
	set := NewSet(all)
	allocations := testing.AllocsPerRun(100, func() { set.With("New").Without("New") })
	assert.Less(t, allocations, 30.0)
}

// TestMembersWithTheSameHash are together in a leaf at the end of all bits.
func TestMembersWithTheSameHash(t *testing.T) {
	set := NewSet(nil)
	members := make([]string, 3*few)
	for i := range members {
		members[i] = fmt.Sprint(i)
	}
	n := newNode(set.seed, members, 64)
	require.Nil(t, n.below)
	require.ElementsMatch(t, members, n.members)
	n = n.with(set.seed, "more", 64).without(set.seed, members[0], 64)
	require.ElementsMatch(t, append(members[1:], "more"), n.members)
}
