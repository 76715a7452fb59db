package bench_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// page is docs/benchmarks.md in parts, so that a run of some comparisons replaces their
// sections and goals, and leaves those of others as they were measured.
type page struct {
	goals    map[string]string // what was measured, by the work that it is of
	sections map[string]string // with their headings, by title
}

// readPage takes apart what an earlier run has written.
func readPage(text string) page {
	p := page{map[string]string{}, map[string]string{}}
	for _, section := range strings.Split("\n"+text, "\n## ")[1:] {
		title, _, _ := strings.Cut(section, "\n")
		if title != "Goals" {
			p.sections[title] = "## " + strings.TrimRight(section, "\n") + "\n\n"
			continue
		}
		for line := range strings.Lines(section) {
			if cells := strings.Split(strings.TrimSpace(line), " | "); len(cells) == 4 {
				p.goals[strings.TrimPrefix(cells[0], "| ")] = strings.TrimSuffix(cells[3], " |")
			}
		}
	}
	return p
}

// write puts the parts together, in the order of the comparisons.
func (p page) write() string {
	var b strings.Builder
	b.WriteString(preface)
	b.WriteString("## Goals\n\nWhat was before comes from another machine and day.\n\n| | before | goal | now |\n|---|---|---|---|\n")
	for _, g := range goals() {
		now := p.goals[g.work]
		if now == "" {
			now = "–"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", g.work, g.before, g.want, now)
	}
	b.WriteString("\n")
	for _, c := range all() {
		b.WriteString(p.sections[c.title])
	}
	return b.String()
}

// preface says how to read the page.
const preface = "# Benchmarks\n\n" + "`TRACBUS_BENCH=../docs go test -count=1 -timeout 4h ./bench`" + ` wrote this page. With a word in
` + "`TRACBUS_BENCH_ONLY`" + ` it measures those sections again that have the word in their titles. Each
section says when it was measured, and where.

All ways of a table took turns on one private server with its default durability: read the
ratios, because the absolute figures are of one machine. A figure is the median of its
turns, with the least and the greatest.

`

// A run of some comparisons keeps the others' sections and goals.
func TestPageKeepsWhatWasNotMeasured(t *testing.T) {
	first, second := goals()[0], goals()[len(goals())-1]
	p := readPage("# Benchmarks\n\nTold.\n\n## Goals\n\n| | before | goal | now |\n|---|---|---|---|\n" +
		"| " + first.work + " | 1 | 2 | 0.83 / 0.71 |\n| " + second.work + " | 1 | 2 | 1.15 |\n| a work that is none | 1 | 2 | 3 |\n\n" +
		"## " + second.title + "\n\nHeld.\n\n| a |\n\n## No comparison\n\nGone.\n\n## " + first.title + "\n\nOld.\n")
	p.goals[first.work] = "0.90"
	p.sections[first.title] = "## " + first.title + "\n\nNew.\n\n"
	written := p.write()
	require.Contains(t, written, "| "+first.work+" | "+first.before+" | "+first.want+" | 0.90 |\n")
	require.Contains(t, written, "| "+second.work+" | "+second.before+" | "+second.want+" | 1.15 |\n")
	require.Contains(t, written, "## "+second.title+"\n\nHeld.\n\n| a |\n\n")
	require.Contains(t, written, "New.")
	require.NotContains(t, written, "Old.")
	require.NotContains(t, written, "No comparison")
	require.NotContains(t, written, "a work that is none")
	require.Less(t, strings.Index(written, "New."), strings.Index(written, "Held."), "sections in the order of the comparisons")
	require.Equal(t, written, readPage(written).write())
}
