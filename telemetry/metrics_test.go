package telemetry

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/figures"
	"github.com/tracbus/tracbus/internal/testkit"
)

// collected returns what a reader gets, as "name unit{attributes} number", and which only grow.
func collected(t *testing.T, reader *sdkmetric.ManualReader) (all map[string]float64, grow map[string]bool) {
	t.Helper()
	var got metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &got))
	all, grow = map[string]float64{}, map[string]bool{}
	for _, s := range got.ScopeMetrics {
		for _, m := range s.Metrics {
			var points []metricdata.DataPoint[float64]
			switch data := m.Data.(type) {
			case metricdata.Sum[float64]:
				points, grow[m.Name] = data.DataPoints, data.IsMonotonic
			case metricdata.Gauge[float64]:
				points = data.DataPoints
			}
			for _, p := range points {
				all[fmt.Sprintf("%s %s{%s}", m.Name, m.Unit, p.Attributes.Encoded(attribute.DefaultEncoder()))] = p.Value
			}
		}
	}
	return all, grow
}

// What package figures reads is what a reader collects, for every listener and publisher.
func TestObserve(t *testing.T) {
	testkit.NoLeaks(t)
	bus := tracbus.NewBus("test")
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	publisher := tracbus.NewPublisher(client, tracbus.PublisherConfig{})
	tracbus.On(bus, tracbus.Everywhere, func(context.Context, tracbus.WikiPageCreated) error { return nil })
	bus.All(tracbus.Primary, publisher)
	require.NoError(t, bus.Notify(page("A", 0, 0)))
	require.NoError(t, bus.Wait(testkit.Within(t)))
	require.NoError(t, bus.Close(testkit.Within(t)))

	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	t.Cleanup(func() { assert.NoError(t, provider.Shutdown(context.Background())) })
	source := figures.Source{Bus: bus, Publishers: []*tracbus.Publisher{publisher}}
	registration, err := Observe(provider, source, attribute.String("host", "web1"))
	require.NoError(t, err)
	got, grow := collected(t, reader)
	want := map[string]float64{}
	for _, r := range source.Read(t.Context()) {
		set := attribute.NewSet(attributesOf(r, []attribute.KeyValue{attribute.String("host", "web1")})...)
		want[fmt.Sprintf("tracbus.%s %s{%s}", r.Figure.Name, r.Figure.Unit, set.Encoded(attribute.DefaultEncoder()))] = r.Value
		assert.Equal(t, r.Figure.Counter, grow["tracbus."+r.Figure.Name], r.Figure.Name)
	}
	assert.Equal(t, want, got)
	assert.Equal(t, 1.0, got["tracbus.publisher.published {host=web1,tracbus.journal=test,tracbus.publisher=1}"])
	assert.Contains(t, got, "tracbus.publisher.away s{host=web1,tracbus.journal=test,tracbus.publisher=1}")

	require.NoError(t, registration.Unregister())
	got, _ = collected(t, reader)
	assert.Empty(t, got)
}

// refusing is a provider whose meters refuse what they are asked for.
type refusing struct {
	noop.MeterProvider
	counters bool
}

func (r refusing) Meter(string, ...metric.MeterOption) metric.Meter {
	return refusingMeter{refusing: r}
}

type refusingMeter struct {
	noop.Meter
	refusing refusing
}

var errRefused = errors.New("refused")

func (m refusingMeter) Float64ObservableCounter(string, ...metric.Float64ObservableCounterOption) (metric.Float64ObservableCounter, error) {
	if m.refusing.counters {
		return nil, errRefused
	}
	return noop.Float64ObservableCounter{}, nil
}

func (refusingMeter) RegisterCallback(metric.Callback, ...metric.Observable) (metric.Registration, error) {
	return nil, errRefused
}

func TestObserveRefused(t *testing.T) {
	bus := tracbus.NewBus("test")
	t.Cleanup(func() { assert.NoError(t, bus.Close(context.Background())) })
	_, err := Observe(refusing{counters: true}, figures.Source{Bus: bus})
	assert.ErrorIs(t, err, errRefused)
	assert.ErrorContains(t, err, "observe listener.delivered: ")
	_, err = Observe(refusing{}, figures.Source{Bus: bus})
	assert.ErrorIs(t, err, errRefused)
}
