package tracbus

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Metric is one figure of a [JournalStatus], in the words of Prometheus and
// OpenTelemetry: it becomes a gauge of theirs without a change.
type Metric struct {
	Name   string // as Prometheus has them, with the unit
	Help   string
	Unit   string // of OpenTelemetry: "s", "{change}", "1"
	Labels []Label
	Value  float64
}

// Label tells one figure of a name from others of the same name.
type Label struct{ Name, Value string }

// Metrics iterates over the figures of a status, those of one name together.
// Tids are below 2^48, so that a float64 holds them exactly.
func (s JournalStatus) Metrics() iter.Seq[Metric] {
	return func(yield func(Metric) bool) {
		all := s.ownMetrics()
		for _, m := range onceMetrics {
			for _, o := range s.Consumers {
				one := m.Metric
				one.Labels, one.Value = []Label{{"consumer", o.Name}}, m.value(o)
				all = append(all, one)
			}
		}
		for _, m := range all {
			if !yield(m) {
				return
			}
		}
	}
}

func (s JournalStatus) ownMetrics() []Metric {
	held := 0.0
	if len(s.Blockers) > 0 {
		held = s.Blockers[0].Age.Seconds()
	}
	return []Metric{
		{Name: "tracbus_journal_head_tid", Help: "Highest tid that was taken.", Unit: "1", Value: float64(s.Head)},
		{Name: "tracbus_journal_place_tid", Help: "Tid up to which this process has told its listeners.", Unit: "1", Value: float64(s.Position)},
		{Name: "tracbus_journal_floor_tid", Help: "Tid up to which changes are pruned.", Unit: "1", Value: float64(s.PrunedTo)},
		{Name: "tracbus_journal_held_seconds", Help: "Age of the oldest transaction that holds others back.", Unit: "s", Value: held},
		{Name: "tracbus_journal_followed", Help: "1 if this process follows the journal, and can read it.", Unit: "1", Value: oneIf(s.Running && s.Err == nil)},
	}
}

// onceMetrics are the figures of each name.
var onceMetrics = []struct {
	Metric
	value func(ConsumerStatus) float64
}{
	{Metric{Name: "tracbus_once_tid", Help: "Tid of the last change done.", Unit: "1"},
		func(o ConsumerStatus) float64 { return float64(o.TID) }},
	{Metric{Name: "tracbus_once_lag_changes", Help: "Changes committed and not done.", Unit: "{change}"},
		func(o ConsumerStatus) float64 { return float64(o.Lag) }},
	{Metric{Name: "tracbus_once_lag_seconds", Help: "Age of the oldest change not done.", Unit: "s"},
		func(o ConsumerStatus) float64 { return o.LagAge.Seconds() }},
	{Metric{Name: "tracbus_once_held", Help: "1 if a process holds the name.", Unit: "1"},
		func(o ConsumerStatus) float64 { return oneIf(o.Holder != "" && o.LeaseRemaining > 0) }},
	{Metric{Name: "tracbus_once_mine", Help: "1 if it is this process.", Unit: "1"},
		func(o ConsumerStatus) float64 { return oneIf(o.HeldHere) }},
	{Metric{Name: "tracbus_once_held_seconds", Help: "Time since the holder took the name.", Unit: "s"},
		func(o ConsumerStatus) float64 { return max(o.LeaseAge, 0).Seconds() }},
	{Metric{Name: "tracbus_once_failing_seconds", Help: "Time since the listener fails, 0 if it does not.", Unit: "s"},
		func(o ConsumerStatus) float64 { return failing(o).Seconds() }},
	{Metric{Name: "tracbus_once_set_aside_changes", Help: "Changes set aside.", Unit: "{change}"},
		func(o ConsumerStatus) float64 { return float64(o.DeadLetters) }},
}

// failing is above zero while the listener fails, however new that is.
func failing(o ConsumerStatus) time.Duration {
	if o.Err == "" {
		return 0
	}
	return max(o.FailingFor, time.Microsecond)
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// WriteMetrics writes metrics in Prometheus' text format, version 0.0.4, for a
// handler that answers with the Content-Type "text/plain; version=0.0.4". Those
// of one name have to follow each other, as [JournalStatus.Metrics] has them.
func WriteMetrics(w io.Writer, metrics iter.Seq[Metric]) error {
	b := bufio.NewWriter(w) // keeps the first error
	last := ""
	for m := range metrics {
		if m.Name != last {
			fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s gauge\n", m.Name, helpEscapes.Replace(m.Help), m.Name)
			last = m.Name
		}
		b.WriteString(m.Name)
		labels := slices.SortedFunc(slices.Values(m.Labels), func(a, b Label) int { return cmp.Compare(a.Name, b.Name) })
		for i, l := range labels {
			b.WriteByte("{,"[min(i, 1)])
			b.WriteString(l.Name + `="` + labelEscapes.Replace(l.Value) + `"`)
		}
		if len(labels) > 0 {
			b.WriteByte('}')
		}
		b.WriteString(" " + strconv.FormatFloat(m.Value, 'f', -1, 64) + "\n")
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

// What the text format escapes.
var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)
