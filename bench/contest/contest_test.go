package contest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// twoWays returns a contest of which the second way is always twice as good as the
// first, while both get better and worse.
func twoWays(order *[]string) *Contest {
	moods := map[string]float64{}
	way := func(name string, good float64) Way {
		return Way{Name: name, Run: func(_ context.Context, at int, _ time.Duration) ([]float64, error) {
			*order = append(*order, name)
			moods[name]++
			return []float64{good * float64(at) * (1 + moods[name])}, nil
		}}
	}
	return &Contest{
		Title: "Work", About: "It works.", At: []int{1, 8}, AtWhat: "writers", Units: []string{"/s"}, Against: "one", Plot: true,
		Ways: []Way{way("one", 1), way("two", 2)},
	}
}

// TestMiddleHalf: turns that met another machine's work do not widen a spread.
func TestMiddleHalf(t *testing.T) {
	figures := []float64{100, 1, 1, 0.01, 1.1, 0.9, 1.2, 0.8}
	turn := map[string]int{}
	way := func(name string, of func(i int) float64) Way {
		return Way{Name: name, Run: func(context.Context, int, time.Duration) ([]float64, error) {
			i := max(turn[name]-1, 0) // the first turn does not count
			turn[name]++
			return []float64{of(i)}, nil
		}}
	}
	c := &Contest{Units: []string{"/s"}, Against: "one", Half: true, Ways: []Way{
		way("one", func(int) float64 { return 2 }), way("two", func(i int) float64 { return 2 * figures[i] }),
	}}
	r, err := c.Hold(t.Context(), len(figures), time.Millisecond)
	require.NoError(t, err)
	ratio, ok := r.Ratio("two", "one", 0, 0)
	assert.True(t, ok)
	assert.Equal(t, Spread{1, 0.9, 1.1}, ratio)
	figure, ok := r.Figure("two", 0, 0)
	assert.True(t, ok)
	assert.Equal(t, Spread{2, 1.8, 2.2}, figure)
}

func TestWaysTakeTurns(t *testing.T) {
	var order []string
	r, err := twoWays(&order).Hold(t.Context(), 3, time.Millisecond)
	require.NoError(t, err)
	assert.Equal(t, "one two two one one two two one", strings.Join(order[:8], " "), "with the turn that does not count")
	assert.Len(t, order, 16)

	ratio, ok := r.Ratio("two", "one", 8, 0)
	assert.True(t, ok)
	assert.Equal(t, Spread{2, 2, 2}, ratio, "turn by turn, whatever the mood")
	figure, ok := r.Figure("one", 1, 0)
	assert.True(t, ok)
	assert.Equal(t, Spread{4, 3, 5}, figure, "without the first turn")
	_, ok = r.Figure("three", 1, 0)
	assert.False(t, ok)
}

func TestAWayThatFailsIsNamed(t *testing.T) {
	broken := errors.New("broken")
	c := &Contest{Title: "Work", Units: []string{"/s"}, Ways: []Way{
		{Name: "bad", Run: func(context.Context, int, time.Duration) ([]float64, error) { return nil, broken }},
	}}
	_, err := c.Hold(t.Context(), 1, time.Millisecond)
	assert.ErrorIs(t, err, broken)
	assert.ErrorContains(t, err, "Work, bad")

	c.Ways[0].Run = func(context.Context, int, time.Duration) ([]float64, error) { return []float64{1, 2}, nil }
	_, err = c.Hold(t.Context(), 1, time.Millisecond)
	assert.ErrorContains(t, err, "got 2 figures")
}

func TestAReportTellsAll(t *testing.T) {
	var order []string
	c := twoWays(&order)
	c.Ways[1].Only = []int{8}
	r, err := c.Hold(t.Context(), 3, time.Millisecond)
	require.NoError(t, err)
	text := r.Markdown("work.svg")
	for _, line := range []string{
		"## Work", "It works.", "![Work](work.svg)",
		"| | 1 writers | 8 writers |",
		"| one, /s | 4.0 (3.0–5.0) | 64 (56–72) |", // which is not compared with itself
		"| two | – | 1.00 (0.86–1.11) |",
	} {
		assert.Contains(t, text, line)
	}
	svg := r.SVG()
	assert.True(t, strings.HasPrefix(svg, "<svg "))
	for _, part := range []string{"</svg>", ">two<", ">8<", "writers", "Work"} {
		assert.Contains(t, svg, part)
	}
}

// A unit that only some ways have is shown of these, and compared with nothing.
func TestAReportLeavesOutWhatAWayDoesNotHave(t *testing.T) {
	var order []string
	c := twoWays(&order)
	c.Units = []string{"/s", "behind"}
	for i, behind := range []float64{None, 7} {
		run := c.Ways[i].Run
		c.Ways[i].Run = func(ctx context.Context, at int, long time.Duration) ([]float64, error) {
			figures, err := run(ctx, at, long)
			return append(figures, behind), err
		}
	}
	r, err := c.Hold(t.Context(), 3, time.Millisecond)
	require.NoError(t, err)
	text := r.Markdown("")
	assert.Contains(t, text, "| two, compared: /s | 2.00 (2.00–2.00) | 2.00 (2.00–2.00) |")
	assert.Contains(t, text, "| two, behind | 7.0 (7.0–7.0) | 7.0 (7.0–7.0) |")
	assert.NotContains(t, text, "one, behind")
}

// A contest that grows shows how much, and its picture can have powers of ten.
func TestAReportTellsHowItGrows(t *testing.T) {
	var order []string
	c := twoWays(&order)
	c.At, c.Against, c.Grows, c.Log = []int{1, 1000}, "", true, true
	for i := range c.Ways {
		run := c.Ways[i].Run
		c.Ways[i].Run = func(ctx context.Context, at int, long time.Duration) ([]float64, error) {
			figures, err := run(ctx, 1, long)
			return []float64{figures[0] / figures[0] * float64(at)}, err
		}
	}
	r, err := c.Hold(t.Context(), 3, time.Millisecond)
	require.NoError(t, err)
	assert.Equal(t, []turn{{1, 0}, {1000, 0}, {1, 1}, {1000, 1}}, c.turns(1), "points that are compared take turns")
	text := r.Markdown("")
	assert.Contains(t, text, "| | 1 writers | 1,000 writers | × |\n|---|---|---|---|\n")
	assert.Contains(t, text, "| one, /s | 1.0 (1.0–1.0) | 1,000 (1,000–1,000) | 1000.00 |")
	svg := r.SVG()
	for _, label := range []string{">1.0<", ">10<", ">100<", ">1,000<", ">10,000<"} {
		assert.Contains(t, svg, label)
	}
	assert.NotContains(t, svg, "NaN")
	assert.NotContains(t, svg, "Inf")
}
