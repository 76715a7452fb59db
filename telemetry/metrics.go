package telemetry

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tracbus/tracbus/figures"
)

// Observe makes metrics of what package figures reads of a source: the figure consumer.lag is the
// metric tracbus.consumer.lag. Labels are attributes, such as tracbus.consumer; tracbus.journal tells
// sources apart, by their Names or the envs of their buses; and those that the caller gives are there too, such as the host's. A provider of nil is OpenTelemetry's
// global one.
//
// Whenever metrics are collected, it asks the database once, for the source's Timeout at most, in the goroutine that
// collects them. Unregister ends that: call it before the journal is closed.
func Observe(provider metric.MeterProvider, source figures.Source, attributes ...attribute.KeyValue) (metric.Registration, error) {
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	meter := provider.Meter(scope)
	instruments := map[*figures.Figure]metric.Float64Observable{}
	var all []metric.Observable
	for _, f := range source.Figures() {
		instrument, err := instrumentOf(meter, f)
		if err != nil {
			return nil, fmt.Errorf("observe %s: %w", f.Name, err)
		}
		instruments[f] = instrument
		all = append(all, instrument)
	}
	registration, err := meter.RegisterCallback(func(ctx context.Context, observer metric.Observer) error {
		for _, r := range source.Read(ctx) {
			observer.ObserveFloat64(instruments[r.Figure], r.Value, metric.WithAttributes(attributesOf(r, attributes)...))
		}
		return nil
	}, all...)
	if err != nil {
		return nil, fmt.Errorf("observe: %w", err)
	}
	return registration, nil
}

func instrumentOf(meter metric.Meter, f *figures.Figure) (metric.Float64Observable, error) {
	name, help, unit := "tracbus."+f.Name, metric.WithDescription(f.Help), metric.WithUnit(f.Unit)
	if f.Counter {
		return meter.Float64ObservableCounter(name, help, unit)
	}
	return meter.Float64ObservableGauge(name, help, unit)
}

func attributesOf(r figures.Reading, others []attribute.KeyValue) []attribute.KeyValue {
	all := make([]attribute.KeyValue, 0, len(r.Labels)+len(others))
	for i, name := range r.Figure.Labels {
		all = append(all, attribute.String("tracbus."+name, r.Labels[i]))
	}
	return append(all, others...)
}
