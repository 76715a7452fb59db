// Package prom makes Prometheus metrics of what package figures reads: of a journal, its durable
// consumers, the listeners of a bus and publishers. It is a module of its own, so that an
// application without Prometheus does not get its packages.
//
//	prometheus.MustRegister(prom.NewCollector(journal, bus, publisher))
//	http.Handle("GET /metrics", promhttp.Handler())
//
// The name of a metric is that of the figure behind "tracbus_", with its unit and, if it is a
// counter, "_total": consumer.lag in seconds is tracbus_consumer_lag_seconds. docs/telemetry.md has
// the queries of a dashboard, and alerts.
package prom

import (
	"context"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/figures"
)

type collector struct {
	sources []figures.Source
	descs   map[*figures.Figure]*prometheus.Desc
}

// NewCollector returns a collector of the figures of a journal, of its durable
// consumers, of a bus and of publishers. The journal or the bus may be nil: then its
// figures are left out. Each scrape asks the database once, for 4 s at most, which is less than
// Prometheus's scrape_timeout of 10 s. If it does not answer,
// the scrape has tracbus_journal_answered 0, and all but what only the database knows.
//
// To have several journals in one registry, register one collector of all of them, which
// [NewCollectorOf] returns. The collector may be used concurrently.
func NewCollector(journal *tracbus.Journal, bus *tracbus.Bus, publishers ...*tracbus.Publisher) prometheus.Collector {
	return NewCollectorOf(figures.Source{Journal: journal, Bus: bus, Publishers: publishers})
}

// NewCollectorOf is NewCollector for several sources of one process, whose Names, or the envs of
// their buses, differ: the label journal tells them apart. They are asked at the same time, and a
// source's Timeout is how long its database may take.
func NewCollectorOf(sources ...figures.Source) prometheus.Collector {
	c := &collector{sources, map[*figures.Figure]*prometheus.Desc{}}
	for _, s := range sources {
		for _, f := range s.Figures() {
			c.descs[f] = prometheus.NewDesc(nameOf(f), f.Help, f.Labels, nil)
		}
	}
	return c
}

// nameOf returns the name of a metric, as Prometheus wants it.
func nameOf(f *figures.Figure) string {
	name := "tracbus_" + strings.ReplaceAll(f.Name, ".", "_")
	if f.Unit == "s" {
		name += "_seconds"
	}
	if f.Counter {
		name += "_total"
	}
	return name
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		descs <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	var asked sync.WaitGroup
	for _, s := range c.sources {
		asked.Go(func() {
			for _, r := range s.Read(context.Background()) {
				kind := prometheus.GaugeValue
				if r.Figure.Counter {
					kind = prometheus.CounterValue
				}
				metrics <- prometheus.MustNewConstMetric(c.descs[r.Figure], kind, r.Value, r.Labels...)
			}
		})
	}
	asked.Wait()
}
