package value

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is remembered of sets of names changes nothing of what is written, whatever
// comes before: sets of the same size, of more names than are remembered, of long
// names, and with the name that is left out.
func TestOrdersWriteWhatSortingWrites(t *testing.T) {
	names := []string{
		"", "id", "a", "aa", "b", "B", `"`, `\`, "é", "\x00", "\u2028", "milestone", "Milestone", "status", "time", strings.Repeat("long", 2000),
	}
	for n := range 60 {
		names = append(names, fmt.Sprint("field", n))
	}
	values := []any{nil, "", "x", `"<\n`, true, json.Number("-1.5"), time.Date(2020, 1, 2, 3, 4, 5, 6000, time.UTC)}
	orders := new(Orders)
	var sets []map[string]any
	for range 300 {
		f := map[string]any{}
		for range rand.IntN(len(names)) % []int{4, 9, 80}[rand.IntN(3)] {
			f[names[rand.IntN(len(names))]] = values[rand.IntN(len(values))]
		}
		sets = append(sets, f)
	}
	var all sync.WaitGroup
	for range 4 { // concurrently, as the publishers of a process encode
		all.Go(func() {
			for range 3000 {
				f, except := sets[rand.IntN(len(sets))], []string{"", "id"}[rand.IntN(2)]
				for _, open := range []string{"", "{", `{"x":1`} {
					want, wantErr := appendSorted([]byte(open), f, except)
					got, err := orders.AppendFields([]byte(open), f, except)
					if !assert.Equal(t, string(want), string(got)) || !assert.Equal(t, wantErr, err) {
						return
					}
				}
			}
		})
	}
	all.Wait()
}

// A value that cannot be written is refused, with the name of its field, also in a set
// of names that is known.
func TestOrdersRefuseWhatSortingRefuses(t *testing.T) {
	orders := new(Orders)
	for _, v := range []any{"x", struct{}{}, "y", []string{"z"}} {
		f := map[string]any{"good": 1, "late": v}
		_, want := appendSorted(nil, f, "")
		_, err := orders.AppendFields(nil, f, "")
		assert.Equal(t, want, err)
	}
}

// Sets of names that come once take the place of those that come often only now and
// then, and never for good.
func TestOrdersKeepWhatComesOften(t *testing.T) {
	orders := new(Orders)
	often := map[string]any{"a": 1, "b": 2, "c": 3}
	known := func() bool {
		for i := range orders.places[len(often)] {
			if o := orders.places[len(often)][i].Load(); o != nil {
				if _, ok, err := o.append(nil, often); ok {
					require.NoError(t, err)
					return true
				}
			}
		}
		return false
	}
	found := 0
	for n := range 1000 {
		if known() {
			found++
		}
		_, _ = orders.AppendFields(nil, often, "")
		_, _ = orders.AppendFields(nil, map[string]any{fmt.Sprint("once", n): 1, "b": 2, "c": 3}, "")
	}
	assert.Greater(t, found, 300, "of 1000, each after a set that came once")
}

// Nothing that a program puts into names grows what is kept.
func TestOrdersKeepNoLongNames(t *testing.T) {
	orders := new(Orders)
	for n := range 100 {
		_, err := orders.AppendFields(nil, map[string]any{strings.Repeat("x", orderBytes+n): 1, "y": 2}, "")
		require.NoError(t, err)
	}
	for i := range orders.places {
		for j := range orders.places[i] {
			if o := orders.places[i][j].Load(); o != nil {
				assert.Empty(t, *o)
			}
		}
	}
}
