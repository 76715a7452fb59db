package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tracbus/tracbus"
)

// ContextOf returns ctx within the trace of a change. A program that reads a publisher's stream
// begins its span with it:
//
//	for entry, err := range subscriber.Stream(ctx, "trac:stream", after) {
//		ctx, span := tracer.Start(telemetry.ContextOf(ctx, entry.Event), "reindex")
//
// If e is nil or has no trace, ctx is returned as it is.
func ContextOf(ctx context.Context, e tracbus.Event) context.Context {
	if e == nil {
		return ctx
	}
	if parent := spanContext(e.About().Trace); parent.IsValid() {
		return trace.ContextWithRemoteSpanContext(ctx, parent)
	}
	return ctx
}

// TraceOf returns the trace of a context, for the events that are given to [tracbus.Bus.Notify] on
// a bus without a journal: a journal asks for it by itself.
func TraceOf(ctx context.Context) tracbus.Trace {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return tracbus.Trace{Parent: carrier.Get("traceparent"), State: carrier.Get("tracestate")}
}

// spanContext returns the span that a trace names. It is not valid if there is none.
func spanContext(t tracbus.Trace) trace.SpanContext {
	if t == (tracbus.Trace{}) {
		return trace.SpanContext{}
	}
	carrier := propagation.MapCarrier{"traceparent": t.Parent, "tracestate": t.State}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}
