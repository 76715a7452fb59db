// Package figures says what there is to watch, in numbers with names: of a journal, its durable
// consumers, the listeners of a bus, and publishers. The modules prom and telemetry make metrics for
// Prometheus and OpenTelemetry of them. A program with another system of metrics does the same:
//
//	for _, r := range (figures.Source{Journal: journal, Bus: bus}).Read(ctx) {
//		statsd.Gauge("tracbus."+r.Figure.Name, r.Value, r.Labels)
//	}
package figures

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
)

// Figure describes a number. It is the same for all readings of it.
type Figure struct {
	Name    string   // lower-case words, with dots and _ between them, such as "consumer.lag"
	Help    string   // a sentence
	Unit    string   // "s" for seconds; "" for what is counted, for tids, and for 1 or 0
	Counter bool     // it only grows, until the process ends
	Labels  []string // what tells apart the numbers of this name: "journal", and then others such as "consumer"
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

	// Name is what the label journal says, which tells apart the sources of a process. Zero means
	// the env of the bus, or of the journal's.
	Name string

	// Timeout is how long the database may take to answer. Zero means 4 s, which is less than those
	// who ask wait for an answer.
	Timeout time.Duration
}

// Figures returns the figures that Read may read. They are the package's: nobody changes them.
func (s Source) Figures() (all []*Figure) {
	if s.Journal != nil {
		all = describe(describe(describe(describe(all, info), process), following), journal)
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
// answer within Timeout, or before ctx ends, the figure journal.answered is 0, and those that only
// the database knows are left out.
func (s Source) Read(ctx context.Context) []Reading {
	r := readings{name: s.Name}
	if s.Bus != nil {
		r.name = cmp.Or(r.name, s.Bus.Env())
	}
	if s.Journal != nil {
		ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.Timeout, 4*time.Second))
		defer cancel()
		status, err := s.Journal.Status(ctx)
		r.name = cmp.Or(r.name, status.Env)
		r.journal(status, err, time.Now())
	}
	if s.Bus != nil {
		r.listeners(s.Bus.Totals())
	}
	stats := make([]tracbus.PublisherStats, len(s.Publishers))
	for i, p := range s.Publishers {
		stats[i] = p.Stats()
	}
	r.publishers(stats, time.Now())
	return r.all
}

// readings collects the readings of a source.
type readings struct {
	name string // of the source
	all  []Reading
}

// figure is a Figure of a T.
type figure[T any] struct {
	Figure
	value func(T) float64
}

func gauge[T any](name, help string, value func(T) float64, labels ...string) figure[T] {
	return figure[T]{Figure{Name: name, Help: help, Labels: with("journal", labels)}, value}
}

func seconds[T any](name, help string, value func(T) time.Duration, labels ...string) figure[T] {
	return figure[T]{Figure{Name: name, Help: help, Unit: "s", Labels: with("journal", labels)}, func(of T) float64 { return max(value(of), 0).Seconds() }}
}

func counter[T any](name, help string, value func(T) uint64, labels ...string) figure[T] {
	return figure[T]{Figure{Name: name, Help: help, Counter: true, Labels: with("journal", labels)}, func(of T) float64 { return float64(value(of)) }}
}

func describe[T any](all []*Figure, figures []figure[T]) []*Figure {
	for i := range figures {
		all = append(all, &figures[i].Figure)
	}
	return all
}

// read adds what the figures of a T say, with labels behind the source's name. Systems of metrics
// refuse what is not UTF-8.
func read[T any](r *readings, figures []figure[T], of T, labels ...string) {
	labels = with(r.name, labels)
	for i := range labels {
		labels[i] = strings.ToValidUTF8(labels[i], "\uFFFD")
	}
	for i := range figures {
		r.all = append(r.all, Reading{&figures[i].Figure, labels, figures[i].value(of)})
	}
}

// with returns a new slice of one and others.
func with(one string, others []string) []string { return append([]string{one}, others...) }

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
