package prom

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tracbus/tracbus"
)

// figure is one metric: how it is described, and its value in a T. Tids are below
// 2^48, so that a float64 holds them exactly.
type figure[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(T) float64
}

func gauge[T any](name, help string, value func(T) float64, labels ...string) figure[T] {
	return figure[T]{prometheus.NewDesc("tracbus_"+name, help, labels, nil), prometheus.GaugeValue, value}
}

func counter[T any](name, help string, value func(T) uint64, labels ...string) figure[T] {
	return figure[T]{prometheus.NewDesc("tracbus_"+name, help, labels, nil), prometheus.CounterValue,
		func(of T) float64 { return float64(value(of)) }}
}

func describe[T any](descs chan<- *prometheus.Desc, figures []figure[T]) {
	for _, f := range figures {
		descs <- f.desc
	}
}

func collect[T any](metrics chan<- prometheus.Metric, figures []figure[T], of T, labels ...string) {
	for _, f := range figures {
		metrics <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(of), labels...)
	}
}

var journalGauges = []figure[tracbus.JournalStatus]{
	gauge("journal_head_tid", "Highest tid allocated, including by transactions still open.",
		func(s tracbus.JournalStatus) float64 { return float64(s.Head) }),
	gauge("journal_position_tid", "Tid up to which this process has delivered to its listeners.",
		func(s tracbus.JournalStatus) float64 { return float64(s.Position) }),
	gauge("journal_pruned_tid", "Tid up to which changes are pruned.",
		func(s tracbus.JournalStatus) float64 { return float64(s.PrunedTo) }),
	gauge("journal_blocked_seconds", "Age of the oldest open transaction that others wait for.",
		func(s tracbus.JournalStatus) float64 {
			if len(s.Blockers) == 0 {
				return 0
			}
			return s.Blockers[0].Age.Seconds()
		}),
	gauge("journal_followed", "1 if this process follows the journal and can read it.",
		func(s tracbus.JournalStatus) float64 { return oneIf(s.Running && s.Err == nil) }),
}

var consumerGauges = []figure[tracbus.ConsumerStatus]{
	consumerGauge("tid", "Tid of the last change done.",
		func(c tracbus.ConsumerStatus) float64 { return float64(c.TID) }),
	consumerGauge("lag_changes", "Changes committed and not done.",
		func(c tracbus.ConsumerStatus) float64 { return float64(c.Lag) }),
	consumerGauge("lag_seconds", "Age of the oldest change not done.",
		func(c tracbus.ConsumerStatus) float64 { return c.LagAge.Seconds() }),
	consumerGauge("leased", "1 if a process holds the lease.",
		func(c tracbus.ConsumerStatus) float64 { return oneIf(c.Holder != "" && c.LeaseRemaining > 0) }),
	consumerGauge("leased_here", "1 if this process holds the lease.",
		func(c tracbus.ConsumerStatus) float64 { return oneIf(c.HeldHere) }),
	consumerGauge("lease_age_seconds", "Time since the holder acquired the lease.",
		func(c tracbus.ConsumerStatus) float64 { return max(c.LeaseAge, 0).Seconds() }),
	consumerGauge("failing_seconds", "Time since the listener began to fail, 0 if it succeeds.",
		func(c tracbus.ConsumerStatus) float64 {
			if c.Err == "" {
				return 0
			}
			return max(c.FailingFor, time.Microsecond).Seconds() // above 0, however new it is
		}),
	consumerGauge("dead_letters", "Changes that the listener failed on until its attempts were used up.",
		func(c tracbus.ConsumerStatus) float64 { return float64(c.DeadLetters) }),
}

func consumerGauge(name, help string, value func(tracbus.ConsumerStatus) float64) figure[tracbus.ConsumerStatus] {
	return gauge("consumer_"+name, help, value, "consumer")
}

func collectJournal(metrics chan<- prometheus.Metric, s tracbus.JournalStatus) {
	collect(metrics, journalGauges, s)
	for _, c := range s.Consumers {
		collect(metrics, consumerGauges, c, c.Name)
	}
}

var listenerFigures = []figure[tracbus.ListenerStatus]{
	gauge("listener_waiting", "Events not delivered yet.",
		func(l tracbus.ListenerStatus) float64 { return float64(l.Waiting) }, "listener", "scope"),
	counter("listener_delivered_total", "Events delivered, whether the listener failed on them or not.",
		func(l tracbus.ListenerStatus) uint64 { return l.Delivered }, "listener", "scope"),
	counter("listener_failed_total", "Of these, given up after failures.",
		func(l tracbus.ListenerStatus) uint64 { return l.Failed }, "listener", "scope"),
	counter("listener_retried_total", "Calls made again after a failure.",
		func(l tracbus.ListenerStatus) uint64 { return l.Retried }, "listener", "scope"),
	counter("listener_dropped_total", "Events never delivered: too many waited, or the bus was closed.",
		func(l tracbus.ListenerStatus) uint64 { return l.Dropped }, "listener", "scope"),
}

// collectListeners adds up listeners of one name and scope, such as several
// functions for one type of event.
func collectListeners(metrics chan<- prometheus.Metric, all []tracbus.ListenerStatus) {
	type key struct{ listener, scope string }
	sums := map[key]tracbus.ListenerStatus{}
	for _, l := range all {
		k := key{l.Listener, l.Scope.String()}
		sum := sums[k]
		sum.Waiting += l.Waiting
		sum.Delivered += l.Delivered
		sum.Failed += l.Failed
		sum.Retried += l.Retried
		sum.Dropped += l.Dropped
		sums[k] = sum
	}
	for k, sum := range sums {
		collect(metrics, listenerFigures, sum, k.listener, k.scope)
	}
}

var publisherFigures = []figure[tracbus.PublisherStats]{
	counter("publisher_published_total", "Messages that Redis has acknowledged.",
		func(p tracbus.PublisherStats) uint64 { return p.Published }, "publisher"),
	counter("publisher_no_receivers_total", "Of these, nobody was subscribed.",
		func(p tracbus.PublisherStats) uint64 { return p.NoReceivers }, "publisher"),
	counter("publisher_rejected_total", "Messages that could not be encoded, or that Redis refused.",
		func(p tracbus.PublisherStats) uint64 { return p.Rejected }, "publisher"),
	counter("publisher_dropped_total", "Messages not sent: too many waited, or the bus was closed.",
		func(p tracbus.PublisherStats) uint64 { return p.Dropped }, "publisher"),
	counter("publisher_unacknowledged_total", "Messages sent before the bus was closed, without an answer.",
		func(p tracbus.PublisherStats) uint64 { return p.Unacknowledged }, "publisher"),
	counter("publisher_resent_total", "Messages sent again, because the answer was lost.",
		func(p tracbus.PublisherStats) uint64 { return p.Resent }, "publisher"),
	gauge("publisher_waiting", "Messages that the publisher holds, without those in the bus's queue.",
		func(p tracbus.PublisherStats) float64 { return float64(p.Waiting) }, "publisher"),
	gauge("publisher_connected", "1 if Redis answered the last try.",
		func(p tracbus.PublisherStats) float64 { return oneIf(!p.Disconnected) }, "publisher"),
}

// collectPublishers numbers publishers from 1, in the order of NewCollector.
func collectPublishers(metrics chan<- prometheus.Metric, all []tracbus.PublisherStats) {
	for i, p := range all {
		collect(metrics, publisherFigures, p, strconv.Itoa(i+1))
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
