// Package figures says what there is to watch, in numbers with names: of a journal, its durable
// consumers, the listeners of a bus, and publishers. The modules prom and telemetry make metrics for
// Prometheus and OpenTelemetry of them. A program with another system of metrics does the same:
//
//	for _, r := range (figures.Source{Journal: journal, Bus: bus}).Read(ctx) {
//		statsd.Gauge("tracbus."+r.Figure.Name, r.Value, r.Labels)
//	}
package figures

import (
	"context"
	"time"

	"github.com/tracbus/tracbus"
)

// Figure describes a number. It is the same for all readings of it.
type Figure struct {
	Name    string   // lower-case words, with dots and _ between them, such as "consumer.lag"
	Help    string   // a sentence
	Unit    string   // "s" for seconds; "" for what is counted, for tids, and for 1 or 0
	Counter bool     // it only grows, until the process ends
	Labels  []string // what tells apart the numbers of this name, such as "consumer"
}

// Reading is the number that a figure has now. Tids are below 2^48, so that a float64 holds them
// exactly.
type Reading struct {
	Figure *Figure
	Labels []string // the values of the Figure's Labels, in their order
	Value  float64
}

// Source is what figures are read of. What is nil has none. Its methods may be called concurrently.
type Source struct {
	Journal    *tracbus.Journal
	Bus        *tracbus.Bus
	Publishers []*tracbus.Publisher // numbered from 1 by the label publisher
}

// Figures returns the figures that Read may read. They are the package's: nobody changes them.
func (s Source) Figures() (all []*Figure) {
	if s.Journal != nil {
		all = describe(describe(describe(all, info), process), journal)
		all = describe(describe(all, captured), consumer)
	}
	if s.Bus != nil {
		all = describe(all, listener)
	}
	if len(s.Publishers) > 0 {
		all = describe(all, publisher)
	}
	return all
}

// Read reads all figures. It asks the database once, if there is a journal: if that does not
// answer before ctx ends, the figure journal.answered is 0, and those that only the database knows
// are left out.
func (s Source) Read(ctx context.Context) (all []Reading) {
	if s.Journal != nil {
		status, err := s.Journal.Status(ctx)
		all = readJournal(all, status, err, time.Now())
	}
	if s.Bus != nil {
		all = readListeners(all, s.Bus.Status())
	}
	stats := make([]tracbus.PublisherStats, len(s.Publishers))
	for i, p := range s.Publishers {
		stats[i] = p.Stats()
	}
	return readPublishers(all, stats, time.Now())
}

// figure is a Figure of a T.
type figure[T any] struct {
	Figure
	value func(T) float64
}

func gauge[T any](name, help string, value func(T) float64, labels ...string) figure[T] {
	return figure[T]{Figure{Name: name, Help: help, Labels: labels}, value}
}

func seconds[T any](name, help string, value func(T) time.Duration, labels ...string) figure[T] {
	return figure[T]{Figure{Name: name, Help: help, Unit: "s", Labels: labels}, func(of T) float64 { return max(value(of), 0).Seconds() }}
}

func counter[T any](name, help string, value func(T) uint64, labels ...string) figure[T] {
	return figure[T]{Figure{Name: name, Help: help, Counter: true, Labels: labels}, func(of T) float64 { return float64(value(of)) }}
}

func describe[T any](all []*Figure, figures []figure[T]) []*Figure {
	for i := range figures {
		all = append(all, &figures[i].Figure)
	}
	return all
}

func read[T any](all []Reading, figures []figure[T], of T, labels ...string) []Reading {
	for i := range figures {
		all = append(all, Reading{&figures[i].Figure, labels, figures[i].value(of)})
	}
	return all
}

// since returns how long something has lasted. It is above zero, however new that is, if it does.
func since(lasts bool, begin, now time.Time) time.Duration {
	if !lasts {
		return 0
	}
	return max(now.Sub(begin), time.Microsecond)
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
