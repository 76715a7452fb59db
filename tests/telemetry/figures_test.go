package telemetry_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/figures"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/prom"
	"github.com/tracbus/tracbus/telemetry"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// scrape asks for metrics over HTTP, and reads them with Prometheus's own parser.
func scrape(t *testing.T, c prometheus.Collector) map[string]*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(c))
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer server.Close()
	answer, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	require.NoError(t, err)
	return families
}

// collect returns the numbers that a reader gets, by the metric's name.
func collect(t *testing.T, reader *sdkmetric.ManualReader) map[string][]float64 {
	t.Helper()
	var got metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(testkit.Within(t), &got))
	all := map[string][]float64{}
	for _, s := range got.ScopeMetrics {
		for _, m := range s.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[float64]:
				for _, p := range data.DataPoints {
					all[m.Name] = append(all[m.Name], p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					all[m.Name] = append(all[m.Name], p.Value)
				}
			}
		}
	}
	return all
}

// TestFigures: Prometheus and OpenTelemetry get the same of a journal at work; and while its
// database is away, what the process knows by itself.
func TestFigures(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		client := testkit.PatientClient(t, testserver.Redis(t, testserver.RedisOptions{}).Addr())
		publisher := tracbus.NewPublisher(client, tracbus.PublisherConfig{})
		dsn := s.DSN(s.Name())
		d := desk.Seat(t, s, dsn, desk.Config{Before: func(b *tracbus.Bus) {
			b.All(tracbus.Durable("redis"), publisher)
			tracbus.On(b, tracbus.Durable("mail"), func(context.Context, tracbus.TicketChanged) error { return nil })
		}})
		var last int64
		for _, comment := range []string{"a", "b", "c"} {
			last = d.Say(t, comment, 1, 2)
		}
		require.NoError(t, d.Wait(testkit.Within(t), last))
		require.NoError(t, d.Bus.Wait(testkit.Within(t)))

		reader := sdkmetric.NewManualReader()
		provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		t.Cleanup(func() { assert.NoError(t, provider.Shutdown(context.Background())) })
		source := figures.Source{Journal: d.Journal, Bus: d.Bus, Publishers: []*tracbus.Publisher{publisher}}
		_, err := telemetry.Observe(provider, source)
		require.NoError(t, err)
		collector := prom.NewCollector(d.Journal, d.Bus, publisher)

		scraped, collected := scrape(t, collector), collect(t, reader)
		number := func(name string) float64 {
			require.Contains(t, scraped, name)
			m := scraped[name].Metric[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
		for _, name := range []string{"tracbus_journal_head_tid", "tracbus_journal_position_tid", "tracbus_consumer_tid"} {
			assert.Equal(t, float64(last), number(name), name)
		}
		for name, want := range map[string]float64{
			"tracbus_journal_answered": 1, "tracbus_journal_followed": 1, "tracbus_journal_failing_seconds": 0, "tracbus_journal_blockers": 0,
			"tracbus_consumer_lag_changes": 0, "tracbus_consumer_lag_seconds": 0, "tracbus_consumer_leased_here": 1, "tracbus_consumer_failing_seconds": 0,
			"tracbus_publisher_published_total": 6, "tracbus_publisher_connected": 1,
		} {
			assert.Equal(t, want, number(name), name)
		}
		same := 0
		for name, family := range scraped {
			plain := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(name, "tracbus_"), "_total"), "_seconds")
			words := strings.SplitN(plain, "_", 2)
			other := "tracbus." + words[0] + "." + words[1]
			assert.Len(t, collected[other], len(family.Metric), other)
			if name == "tracbus_consumer_lease_age_seconds" {
				continue // which grows
			}
			var values []float64
			for _, m := range family.Metric {
				values = append(values, m.GetGauge().GetValue()+m.GetCounter().GetValue())
			}
			assert.ElementsMatch(t, values, collected[other], other)
			same++
		}
		assert.Equal(t, len(scraped)-1, same)
		assert.Len(t, collected, len(scraped))

		require.NoError(t, d.DB.Close()) // as good as a database that is away
		scraped = scrape(t, collector)
		assert.Equal(t, 0.0, number("tracbus_journal_answered"))
		assert.Equal(t, float64(last), number("tracbus_journal_position_tid"))
		assert.Equal(t, 6.0, number("tracbus_publisher_published_total"))
		for _, name := range []string{"tracbus_journal_head_tid", "tracbus_journal_blocked_seconds", "tracbus_consumer_lag_changes"} {
			assert.NotContains(t, scraped, name)
		}
		testkit.Until(t, "the journal cannot be followed", func() bool {
			scraped = scrape(t, collector)
			return number("tracbus_journal_followed") == 0 && number("tracbus_journal_failing_seconds") > 0
		})
		collected = collect(t, reader)
		assert.Equal(t, []float64{0}, collected["tracbus.journal.answered"])
		assert.Equal(t, []float64{0}, collected["tracbus.journal.followed"])
	})
}

// TestRolledBack: what took a tid and was rolled back is nothing that has to be delivered.
func TestRolledBack(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
		held := d.Say(t, "holds", 1)
		require.NoError(t, d.Wait(testkit.Within(t), held))
		for range 3 {
			q, err := d.DB.BeginTx(testkit.Within(t), nil)
			require.NoError(t, err)
			tx, err := d.Join(q)
			require.NoError(t, err)
			require.NoError(t, tx.Prepare(desk.Joe, ""))
			require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, "never")))
			_, err = tx.Flush(testkit.Within(t))
			require.NoError(t, err)
			require.NoError(t, q.Rollback())
			tx.Rollback()
		}
		status, err := d.Status(testkit.Within(t))
		require.NoError(t, err)
		assert.Equal(t, held, status.Committed)
		if s.Dialect == "postgresql" {
			assert.Equal(t, held+3, status.Head, "the sequence does not go back")
		}
		behind := func() float64 {
			scraped := scrape(t, prom.NewCollector(d.Journal, d.Bus))
			return scraped["tracbus_journal_committed_tid"].Metric[0].GetGauge().GetValue() - scraped["tracbus_journal_position_tid"].Metric[0].GetGauge().GetValue()
		}
		assert.Zero(t, behind())

		d.Pause(t)
		d.Say(t, "waits", 1)
		assert.GreaterOrEqual(t, behind(), 1.0, "this one has to be delivered")
		d.Follow()
		require.NoError(t, d.Wait(testkit.Within(t), held+1))
		testkit.Until(t, "all is delivered", func() bool { return behind() == 0 })
	})
}

// TestHungDatabase: a scrape ends while the database does not answer, before others who ask it give up.
func TestHungDatabase(t *testing.T) {
	testkit.NoLeaks(t)
	s := testdatabase.New(t, "postgresql")
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Idle: true})
	begun := make(chan struct{})
	d.DB.SetMaxOpenConns(1)
	conn, err := d.DB.Conn(testkit.Within(t)) // what asks waits for it, as for a server that says nothing
	require.NoError(t, err)
	gaveUp := make(chan error, 1)
	go func() {
		close(begun)
		_, err := d.Status(context.Background())
		gaveUp <- err
	}()
	<-begun
	scraped := scrape(t, prom.NewCollectorOf(figures.Source{Journal: d.Journal, Timeout: 10 * time.Millisecond}))
	assert.Zero(t, scraped["tracbus_journal_answered"].Metric[0].GetGauge().GetValue())
	assert.NotContains(t, scraped, "tracbus_journal_committed_tid")
	select {
	case err := <-gaveUp:
		t.Errorf("the scrape waited as long as any other: %v", err)
	default:
	}
	require.NoError(t, conn.Close())
	require.NoError(t, <-gaveUp)
}
