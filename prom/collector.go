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
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/figures"
)

// statusTimeout is how long the database may take to answer a scrape.
const statusTimeout = 8 * time.Second

type collector struct {
	source figures.Source
	descs  map[*figures.Figure]*prometheus.Desc
}

// NewCollector returns a collector of the figures of a journal, of its durable
// consumers, of a bus and of publishers. The journal or the bus may be nil: then its
// figures are left out. Each scrape asks the database once, for 8 s at most. If it does not answer,
// the scrape has tracbus_journal_answered 0, and all but what only the database knows.
//
// To have several journals in one registry, register each with [prometheus.WrapRegistererWith] and a
// label of its own. The collector may be used concurrently.
func NewCollector(journal *tracbus.Journal, bus *tracbus.Bus, publishers ...*tracbus.Publisher) prometheus.Collector {
	c := &collector{figures.Source{Journal: journal, Bus: bus, Publishers: publishers}, map[*figures.Figure]*prometheus.Desc{}}
	for _, f := range c.source.Figures() {
		c.descs[f] = prometheus.NewDesc(nameOf(f), f.Help, f.Labels, nil)
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
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	for _, r := range c.source.Read(ctx) {
		kind := prometheus.GaugeValue
		if r.Figure.Counter {
			kind = prometheus.CounterValue
		}
		metrics <- prometheus.MustNewConstMetric(c.descs[r.Figure], kind, r.Value, r.Labels...)
	}
}
