package prom

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/figures"
	"github.com/tracbus/tracbus/internal/testkit"
)

// scrape asks a handler for metrics over HTTP, as a Prometheus does, and reads them with its parser.
func scrape(t *testing.T, c prometheus.Collector) map[string]*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(c))
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(server.Close)
	answer, err := http.Get(server.URL)
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	require.NoError(t, err)
	return families
}

// What package figures reads is scraped: with its value, its labels, and a name that says its unit.
func TestScrape(t *testing.T) {
	testkit.NoLeaks(t)
	bus := tracbus.NewBus("test")
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	publisher := tracbus.NewPublisher(client, tracbus.PublisherConfig{})
	tracbus.On(bus, tracbus.Everywhere, func(context.Context, tracbus.WikiPageCreated) error { return nil })
	bus.All(tracbus.Primary, publisher)
	require.NoError(t, bus.Notify(tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: "A", Version: 1}}))
	require.NoError(t, bus.Wait(testkit.Within(t)))
	require.NoError(t, bus.Close(testkit.Within(t)))

	collector := NewCollector(nil, bus, publisher, publisher)
	problems, err := testutil.CollectAndLint(collector)
	require.NoError(t, err)
	assert.Empty(t, problems)
	families := scrape(t, collector)
	readings := (figures.Source{Bus: bus, Publishers: []*tracbus.Publisher{publisher, publisher}}).Read(t.Context())
	for _, r := range readings {
		family := families[nameOf(r.Figure)]
		require.NotNil(t, family, r.Figure.Name)
		assert.Equal(t, r.Figure.Help, family.GetHelp())
		assert.Equal(t, r.Figure.Counter, family.GetType() == dto.MetricType_COUNTER, r.Figure.Name)
		assert.Equal(t, r.Figure.Counter, strings.HasSuffix(family.GetName(), "_total"), r.Figure.Name)
		assert.Equal(t, r.Figure.Unit == "s", strings.HasSuffix(family.GetName(), "_seconds"), r.Figure.Name)
		assert.True(t, slices.ContainsFunc(family.Metric, func(m *dto.Metric) bool {
			for _, label := range m.Label {
				if i := slices.Index(r.Figure.Labels, label.GetName()); i < 0 || r.Labels[i] != label.GetValue() {
					return false
				}
			}
			return len(m.Label) == len(r.Labels) && m.GetGauge().GetValue()+m.GetCounter().GetValue() == r.Value
		}), "%s %v %v: %v", r.Figure.Name, r.Labels, r.Value, family)
	}
	published := families["tracbus_publisher_published_total"]
	assert.Len(t, published.GetMetric(), 2)
	assert.NotContains(t, families, "tracbus_journal_position_tid")
}

// Journals of one process share a registry: the label journal tells them apart. A collector of what
// another one has is refused.
func TestSeveralInOneRegistry(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	var sources []figures.Source
	for _, env := range []string{"a", "b"} {
		bus := tracbus.NewBus(env)
		tracbus.On(bus, tracbus.Everywhere, func(context.Context, tracbus.WikiPageCreated) error { return nil })
		t.Cleanup(func() { assert.NoError(t, bus.Close(context.Background())) })
		sources = append(sources, figures.Source{Bus: bus})
	}
	sources = append(sources, figures.Source{Bus: sources[1].Bus, Name: "c"})
	all := NewCollectorOf(sources...)
	var names []string
	for _, m := range scrape(t, all)["tracbus_listener_delivered_total"].GetMetric() {
		for _, label := range m.Label {
			if label.GetName() == "journal" {
				names = append(names, label.GetValue())
			}
		}
	}
	assert.ElementsMatch(t, []string{"a", "b", "c"}, names)
	require.NoError(t, registry.Register(all))
	assert.Error(t, registry.Register(NewCollector(nil, sources[0].Bus)))
	assert.True(t, registry.Unregister(all))
	assert.NoError(t, registry.Register(NewCollector(nil, sources[0].Bus)))
}
