package delivery

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRingIsABoundedSlice does the same to a ring and to a slice.
func TestRingIsABoundedSlice(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		limit := 1 + random.IntN(40)
		q := newRing[int](limit)
		var want []int
		for i := range 2000 {
			if step := random.IntN(300); step == 0 {
				q.Pop(nil, q.Len())
				want = nil
			} else if step < 40 {
				q.Grow(i)
				want = append(want, i)
			} else if step < 200 {
				full := len(want) >= limit
				want = append(want, i)
				if full {
					want = want[1:]
				}
				require.Equal(t, full, q.Push(i), "seed %d, step %d", seed, i)
			} else {
				most := random.IntN(2 * limit)
				n := min(most, len(want))
				require.Equal(t, append([]int{-1}, want[:n]...), q.Pop([]int{-1}, most), "seed %d, step %d", seed, i)
				want = want[n:]
			}
			require.Equal(t, len(want), q.Len())
			if len(want) > 0 {
				require.Equal(t, want[0], q.First())
			}
		}
	}
}
