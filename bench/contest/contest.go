// Package contest lets several ways to do the same job take turns on one machine, and
// compares them. A machine's moods meet all of them then, so that ratios hold where
// absolute figures do not.
package contest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// A Contest is one comparison.
type Contest struct {
	Title string   // what it is about, as a heading
	About string   // one paragraph: what a way does, and what the figures are
	Notes []string // what a reader has to know to read the figures right

	// At are the points at which all ways are measured, such as numbers of writers.
	// AtWhat is what they count.
	At     []int
	AtWhat string

	// Units are what a way returns at each point. More is better, unless a unit ends
	// with a time: " ns", " µs", " ms".
	Units []string

	// Against is the name of the way with which the others are compared: their
	// figures are shown as ratios of the same turn, but for units of which it has
	// none itself. "" means that all are shown as they are.
	Against string

	Ways []Way
	Plot bool // whether the report has a picture of it

	Log   bool // the picture's heights are powers of ten, for figures that are far apart
	Half  bool // turns are many and short, of which some meet a machine that does other things: spreads are those of the middle half
	Grows bool // points take turns too; a last column shows the last point as a multiple of the first
}

// A Way does the job.
type Way struct {
	Name string

	// Run does it at a point for about as long as it is told, and returns a figure
	// of each unit. None is one that it does not have.
	Run func(ctx context.Context, at int, long time.Duration) ([]float64, error)

	// Only are the points at which it is measured. None means all.
	Only []int
}

// None is the figure of a unit that a way does not have.
var None = math.NaN()

// Result is what a contest has found.
type Result struct {
	*Contest
	Rounds  int
	figures map[key][]float64 // one for each round
}

type key struct {
	way      string
	at, unit int
}

// Hold has each way run for so many rounds, each in turn, at each point. The first turn
// is not counted: it makes connections and fills caches.
func (c *Contest) Hold(ctx context.Context, rounds int, long time.Duration) (*Result, error) {
	r := &Result{c, rounds, map[key][]float64{}}
	for _, turn := range c.turns(rounds) {
		while := long
		if turn.round == 0 {
			while = min(long, max(long/4, 50*time.Millisecond))
		}
		for i := range c.Ways {
			w := c.Ways[(i+turn.round)%len(c.Ways)] // nobody always comes after the same one
			if !w.at(turn.at) {
				continue
			}
			figures, err := w.Run(ctx, turn.at, while)
			if err == nil && len(figures) != len(c.Units) {
				err = fmt.Errorf("got %d figures, expected one of each unit: %q", len(figures), c.Units)
			}
			if err != nil {
				return nil, fmt.Errorf("%s, %s at %d: %w", c.Title, w.Name, turn.at, err)
			}
			if turn.round > 0 {
				for unit, f := range figures {
					if math.IsNaN(f) {
						continue
					}
					k := key{w.Name, turn.at, unit}
					r.figures[k] = append(r.figures[k], f)
				}
			}
		}
	}
	return r, nil
}

// turn is of all ways at a point.
type turn struct{ at, round int }

// turns are in order: all rounds at a point, and then at the next; or, where points are
// compared with each other, a round at all points, and then the next round.
func (c *Contest) turns(rounds int) (turns []turn) {
	for _, at := range c.points() {
		for round := range rounds + 1 {
			turns = append(turns, turn{at, round})
		}
	}
	if c.Grows {
		slices.SortStableFunc(turns, func(a, b turn) int { return a.round - b.round })
	}
	return turns
}

// points are where all are measured; one that counts nothing if there are none.
func (c *Contest) points() []int {
	if len(c.At) == 0 {
		return []int{0}
	}
	return c.At
}

func (w Way) at(at int) bool { return len(w.Only) == 0 || slices.Contains(w.Only, at) }

// Spread is a median, and the least and the greatest.
type Spread struct{ Median, Least, Greatest float64 }

// SpreadOf returns that of figures, of which there is at least one.
func SpreadOf(figures []float64) Spread {
	sorted := slices.Sorted(slices.Values(figures))
	return Spread{sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1]}
}

// spread is [SpreadOf] the figures, or of the middle half of them.
func (r *Result) spread(figures []float64) Spread {
	sorted := slices.Sorted(slices.Values(figures))
	if quarter := len(sorted) / 4; r.Half {
		sorted = sorted[quarter : len(sorted)-quarter]
	}
	return SpreadOf(sorted)
}

// Figure returns what a way has reached at a point, and false if it was not measured.
func (r *Result) Figure(way string, at, unit int) (Spread, bool) {
	figures := r.figures[key{way, at, unit}]
	if len(figures) == 0 {
		return Spread{}, false
	}
	return r.spread(figures), true
}

// Ratio returns what a way has reached as a ratio of another, turn by turn.
func (r *Result) Ratio(way, to string, at, unit int) (Spread, bool) {
	of, against := r.figures[key{way, at, unit}], r.figures[key{to, at, unit}]
	if len(of) == 0 || len(of) != len(against) {
		return Spread{}, false
	}
	ratios := make([]float64, len(of))
	for i := range of {
		ratios[i] = of[i] / against[i]
	}
	return r.spread(ratios), true
}
