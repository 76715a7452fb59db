package contest

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The picture's measures, in units of SVG.
const (
	pictureWide, pictureHigh  = 800, 360
	plotLeft, plotTop         = 70, 50
	plotWide, plotHigh        = 400, 250
	legendLeft, legendSpacing = 490, 20
)

// colours differ also for those who do not see all colours (Okabe and Ito).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"}

// SVG draws the first unit of each way at all points: figures, or what they are
// compared with Against.
func (r *Result) SVG() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", pictureWide, pictureHigh)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="24" font-size="15">%s</text>`+"\n", plotLeft, html.EscapeString(r.Title))
	top, bottom := r.highest(), 0.0
	lines := []float64{0, top / 4, top / 2, top * 3 / 4, top}
	if r.Log {
		top, bottom, lines = r.powers()
	}
	for _, value := range lines { // to read heights by
		y := r.height(value, top, bottom)
		fmt.Fprintf(&b, `<path d="M%d %.1fh%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", plotLeft, y, plotWide, plotLeft-6, y+4, r.label(value))
	}
	points := r.points()
	for i, at := range points {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", r.across(i), plotTop+plotHigh+18, thousands(at))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", plotLeft+plotWide/2, plotTop+plotHigh+38, html.EscapeString(r.AtWhat))
	fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`+"\n", plotLeft, plotTop-8, html.EscapeString(r.scale()))
	for n, w := range r.Ways {
		b.WriteString(r.line(n, w, top, bottom))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// value is what is drawn of a way at a point.
func (r *Result) value(w Way, at int) (Spread, bool) {
	if r.Against != "" {
		return r.Ratio(w.Name, r.Against, at, 0)
	}
	return r.Figure(w.Name, at, 0)
}

// scale says what the heights are.
func (r *Result) scale() string {
	if r.Against != "" {
		return "compared with " + r.Against
	}
	return strings.TrimSpace(r.Units[0])
}

func (r *Result) label(value float64) string {
	if r.Against != "" {
		return ratio(value)
	}
	return Number(value)
}

// highest returns the top of the scale: above all that is drawn, and a round number.
func (r *Result) highest() float64 {
	top := 0.0
	for _, w := range r.Ways {
		for _, at := range r.points() {
			if s, ok := r.value(w, at); ok {
				top = max(top, s.Median)
			}
		}
	}
	if top <= 0 {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(top)))
	for _, times := range []float64{1, 2, 4, 6, 8, 10} {
		if top <= times*step {
			return times * step
		}
	}
	return 10 * step
}

// line draws a way, with dots at the points, and names it.
func (r *Result) line(n int, w Way, top, bottom float64) string {
	var b strings.Builder
	var path []string
	colour := colours[n%len(colours)]
	for i, at := range r.points() {
		s, ok := r.value(w, at)
		if !ok {
			continue
		}
		x, y := r.across(i), r.height(s.Median, top, bottom)
		path = append(path, fmt.Sprintf("%.1f %.1f", x, y))
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`, x, y, colour)
	}
	if len(path) > 1 {
		fmt.Fprintf(&b, `<path d="M%s" fill="none" stroke="%s" stroke-width="1.5"/>`, strings.Join(path, "L"), colour)
	}
	y := plotTop + n*legendSpacing
	fmt.Fprintf(&b, `<rect x="%d" y="%d" width="12" height="4" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n",
		legendLeft, y, colour, legendLeft+18, y+7, html.EscapeString(w.Name))
	return b.String()
}

// across is where a point is: all are as far from each other.
func (r *Result) across(i int) float64 {
	if n := len(r.points()); n > 1 {
		return plotLeft + 20 + float64(plotWide-40)*float64(i)/float64(n-1)
	}
	return plotLeft + plotWide/2
}

// height is where a value is drawn.
func (r *Result) height(value, top, bottom float64) float64 {
	if r.Log {
		return plotTop + plotHigh*(1-math.Log10(max(value, bottom)/bottom)/math.Log10(top/bottom))
	}
	return plotTop + plotHigh*(1-value/top)
}

// powers returns the powers of ten that all values are between.
func (r *Result) powers() (top, bottom float64, lines []float64) {
	least, most := math.Inf(1), 0.0
	for _, w := range r.Ways {
		for _, at := range r.points() {
			if s, ok := r.value(w, at); ok && s.Median > 0 {
				least, most = min(least, s.Median), max(most, s.Median)
			}
		}
	}
	if most == 0 {
		least, most = 1, 1
	}
	bottom, top = math.Pow(10, math.Floor(math.Log10(least))), math.Pow(10, math.Floor(math.Log10(most))+1)
	for at := bottom; at < top*1.01; at *= 10 {
		lines = append(lines, at)
	}
	return top, bottom, lines
}
