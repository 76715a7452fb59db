// Package prom makes Prometheus metrics of a journal, its durable consumers, the
// listeners of a bus and publishers. It is a module of its own, so that an
// application without Prometheus does not get its packages.
//
//	prometheus.MustRegister(prom.NewCollector(journal, bus, publisher))
//	http.Handle("GET /metrics", promhttp.Handler())
package prom

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tracbus/tracbus"
)

// statusTimeout is how long the database may take to answer a scrape.
const statusTimeout = 8 * time.Second

type collector struct {
	journal    *tracbus.Journal
	bus        *tracbus.Bus
	publishers []*tracbus.Publisher
}

// NewCollector returns a collector of the figures of a journal, of its durable
// consumers, of a bus and of publishers. The journal or the bus may be nil: then its
// figures are left out. Each scrape asks the database once; if it does not answer, the
// scrape reports that as an error, and the other figures.
func NewCollector(journal *tracbus.Journal, bus *tracbus.Bus, publishers ...*tracbus.Publisher) prometheus.Collector {
	return &collector{journal, bus, publishers}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	if c.journal != nil {
		describe(descs, journalGauges)
		describe(descs, consumerGauges)
	}
	if c.bus != nil {
		describe(descs, listenerFigures)
	}
	if len(c.publishers) > 0 {
		describe(descs, publisherFigures)
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	if c.journal != nil {
		ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
		defer cancel()
		status, err := c.journal.Status(ctx)
		if err != nil {
			metrics <- prometheus.NewInvalidMetric(journalGauges[0].desc, err)
		} else {
			collectJournal(metrics, status)
		}
	}
	if c.bus != nil {
		collectListeners(metrics, c.bus.Status())
	}
	stats := make([]tracbus.PublisherStats, len(c.publishers))
	for i, p := range c.publishers {
		stats[i] = p.Stats()
	}
	collectPublishers(metrics, stats)
}
