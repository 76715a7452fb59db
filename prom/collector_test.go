package prom

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

// journalOf collects the figures of a status.
type journalOf tracbus.JournalStatus

func (j journalOf) Describe(descs chan<- *prometheus.Desc) {
	describe(descs, journalGauges)
	describe(descs, consumerGauges)
}

func (j journalOf) Collect(metrics chan<- prometheus.Metric) {
	collectJournal(metrics, tracbus.JournalStatus(j))
}

// lines returns what a scrape gets, without the comments.
func lines(t *testing.T, c prometheus.Collector) (all []string) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(c))
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, answer.Code, answer.Body)
	for l := range strings.Lines(answer.Body.String()) {
		if l = strings.TrimSuffix(l, "\n"); !strings.HasPrefix(l, "#") {
			all = append(all, l)
		}
	}
	slices.Sort(all)
	return all
}

func TestJournal(t *testing.T) {
	s := tracbus.JournalStatus{
		Head: 1<<48 - 1, Position: 17, PrunedTo: 3, Running: true,
		Blockers: []tracbus.Blocker{{Session: "pid 4", Age: 1500 * time.Millisecond}},
		Consumers: []tracbus.ConsumerStatus{
			{Name: "mail", TID: 15, Lag: 2, LagAge: 250 * time.Millisecond, Holder: "web1, pid 7", HeldHere: true, LeaseRemaining: time.Second, LeaseAge: time.Minute, DeadLetters: 1},
			{Name: "redis", TID: 9, Lag: 8, LagAge: time.Hour, Err: "no route", FailingFor: 90 * time.Second, LeaseAge: -time.Second},
		},
	}
	want := []string{
		"tracbus_journal_head_tid 2.81474976710655e+14",
		"tracbus_journal_position_tid 17",
		"tracbus_journal_pruned_tid 3",
		"tracbus_journal_blocked_seconds 1.5",
		"tracbus_journal_followed 1",
		`tracbus_consumer_tid{consumer="mail"} 15`,
		`tracbus_consumer_tid{consumer="redis"} 9`,
		`tracbus_consumer_lag_changes{consumer="mail"} 2`,
		`tracbus_consumer_lag_changes{consumer="redis"} 8`,
		`tracbus_consumer_lag_seconds{consumer="mail"} 0.25`,
		`tracbus_consumer_lag_seconds{consumer="redis"} 3600`,
		`tracbus_consumer_leased{consumer="mail"} 1`,
		`tracbus_consumer_leased{consumer="redis"} 0`,
		`tracbus_consumer_leased_here{consumer="mail"} 1`,
		`tracbus_consumer_leased_here{consumer="redis"} 0`,
		`tracbus_consumer_lease_age_seconds{consumer="mail"} 60`,
		`tracbus_consumer_lease_age_seconds{consumer="redis"} 0`,
		`tracbus_consumer_failing_seconds{consumer="mail"} 0`,
		`tracbus_consumer_failing_seconds{consumer="redis"} 90`,
		`tracbus_consumer_dead_letters{consumer="mail"} 1`,
		`tracbus_consumer_dead_letters{consumer="redis"} 0`,
	}
	slices.Sort(want)
	assert.Equal(t, want, lines(t, journalOf(s)))

	s.Err = errors.New("the database is away")
	assert.Contains(t, lines(t, journalOf(s)), "tracbus_journal_followed 0")
	s = tracbus.JournalStatus{Consumers: []tracbus.ConsumerStatus{{Name: "new", Err: "it began in this moment"}}}
	assert.Contains(t, lines(t, journalOf(s)), `tracbus_consumer_failing_seconds{consumer="new"} 1e-06`)
}

// TestListenersAndPublishers: listeners of one name are added up, because a metric
// has one value; publishers are numbered.
func TestListenersAndPublishers(t *testing.T) {
	bus := tracbus.NewBus("test")
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	publisher := tracbus.NewPublisher(client, tracbus.PublisherConfig{})
	for range 2 {
		tracbus.On(bus, tracbus.Primary, func(context.Context, tracbus.WikiPageCreated) error { return nil })
	}
	bus.All(tracbus.Primary, publisher)
	require.NoError(t, bus.Notify(tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: "A", Version: 1}}))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, bus.Wait(ctx))
	require.NoError(t, bus.Close(ctx)) // and the publisher, with its answers

	all := lines(t, NewCollector(nil, bus, publisher, publisher))
	assert.Contains(t, all, `tracbus_publisher_published_total{publisher="1"} 1`)
	assert.Contains(t, all, `tracbus_publisher_published_total{publisher="2"} 1`)
	assert.Contains(t, all, `tracbus_publisher_connected{publisher="1"} 1`)
	assert.True(t, slices.ContainsFunc(all, func(l string) bool {
		return strings.HasPrefix(l, "tracbus_listener_delivered_total{") && strings.Contains(l, "TestListenersAndPublishers") && strings.HasSuffix(l, " 2")
	}), "%q", all)
	assert.False(t, slices.ContainsFunc(all, func(l string) bool { return strings.HasPrefix(l, "tracbus_journal_") }))
}
