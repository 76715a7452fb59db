package contest

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Markdown returns a section of a document. picture is where its picture is, or "".
func (r *Result) Markdown(picture string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n%s\n\n", r.Title, r.About)
	b.WriteString(r.header())
	for _, w := range r.Ways {
		for unit := range r.Units {
			if r.has(w.Name, unit) {
				b.WriteString(r.row(w, unit))
			}
		}
	}
	b.WriteString("\n")
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "%s\n\n", note)
	}
	if picture != "" {
		fmt.Fprintf(&b, "![%s](%s)\n\n", r.Title, picture)
	}
	return b.String()
}

// header names the points.
func (r *Result) header() string {
	if len(r.At) == 0 {
		return "| | |\n|---|---|\n"
	}
	line, rule := "| |", "|---|"
	for _, at := range r.At {
		line += fmt.Sprintf(" %s %s |", thousands(at), r.AtWhat)
		rule += "---|"
	}
	if r.Grows {
		line, rule = line+" × |", rule+"---|"
	}
	return line + "\n" + rule + "\n"
}

// has says whether a way has a figure of a unit, at some point.
func (r *Result) has(way string, unit int) bool {
	return slices.ContainsFunc(r.points(), func(at int) bool {
		_, ok := r.Figure(way, at, unit)
		return ok
	})
}

// row is one unit of a way. That with which others are compared is shown as it is, and so
// is a unit that it has no figure of.
func (r *Result) row(w Way, unit int) string {
	name, compared := w.Name, w.Name != r.Against && r.has(r.Against, unit)
	switch {
	case !compared:
		name += ", " + strings.TrimSpace(r.Units[unit])
	case len(r.Units) > 1:
		name += ", compared: " + strings.TrimSpace(r.Units[unit])
	}
	line := "| " + name + " |"
	for _, at := range r.points() {
		var s Spread
		var ok bool
		write := Number
		if compared {
			s, ok = r.Ratio(w.Name, r.Against, at, unit)
			write = ratio
		} else {
			s, ok = r.Figure(w.Name, at, unit)
		}
		if !ok {
			line += " – |"
			continue
		}
		line += fmt.Sprintf(" %s (%s–%s) |", write(s.Median), write(s.Least), write(s.Greatest))
	}
	if points := r.points(); r.Grows {
		first, ok1 := r.Figure(w.Name, points[0], unit)
		last, ok2 := r.Figure(w.Name, points[len(points)-1], unit)
		if ok1 && ok2 {
			line += " " + ratio(last.Median/first.Median) + " |"
		} else {
			line += " – |"
		}
	}
	return line + "\n"
}

func ratio(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }

// Number writes a figure with two digits that mean something, or more where that is
// shorter than a power of ten.
func Number(f float64) string {
	switch a := math.Abs(f); {
	case a >= 1000:
		return thousands(int(math.Round(f/10) * 10))
	case a >= 10:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case a >= 1:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}

// thousands writes a whole number in groups of three digits.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
