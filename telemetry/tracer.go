package telemetry

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/tracbus/tracbus"
)

// The attributes of spans and metrics.
const (
	envKey      = attribute.Key("tracbus.env")       // of the bus
	eventEnvKey = attribute.Key("tracbus.event_env") // of the change, which may name another
	tidKey      = attribute.Key("tracbus.tid")
	listenerKey = attribute.Key("tracbus.listener")
	scopeKey    = attribute.Key("tracbus.scope")
	eventsKey   = attribute.Key("tracbus.events") // how many
	realmKey    = attribute.Key("tracbus.realm")
	idKey       = attribute.Key("tracbus.id")
	kindKey     = attribute.Key("tracbus.kind")
)

// tracer is a [tracbus.Tracer].
type tracer struct{ trace.Tracer }

// NewTracer returns what to set as [tracbus.BusConfig.Tracer]. The spans are those of a provider,
// which samples them and which the caller shuts down after the bus. nil is OpenTelemetry's global one.
func NewTracer(provider trace.TracerProvider) tracbus.Tracer {
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	return tracer{provider.Tracer(scope)}
}

// Commit implements [tracbus.Tracer].
func (t tracer) Commit(ctx context.Context, env string) (context.Context, tracbus.Trace, func(int64, error)) {
	ctx, span := t.Start(ctx, "tracbus.commit", trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(envKey.String(env)))
	return ctx, TraceOf(ctx), func(tid int64, err error) {
		if tid != 0 {
			span.SetAttributes(tidKey.Int64(tid))
		}
		end(span, err)
	}
}

// Call implements [tracbus.Tracer].
func (t tracer) Call(ctx context.Context, call tracbus.ListenerCall) (context.Context, func(error)) {
	name, kind := "tracbus.deliver", trace.SpanKindConsumer
	if call.Publishes {
		name, kind = "tracbus.publish", trace.SpanKindProducer
	}
	attributes := []attribute.KeyValue{
		envKey.String(call.Env), listenerKey.String(call.Listener), scopeKey.String(call.Scope.String()), eventsKey.Int(len(call.Events)),
	}
	if len(call.Events) == 1 {
		e := call.Events[0]
		attributes = append(attributes, eventEnvKey.String(valid(e.About().Env)), tidKey.Int64(e.About().TID),
			realmKey.String(string(e.Resource().Realm)), idKey.String(valid(e.Resource().ID)), kindKey.String(string(e.Kind())))
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(kind), trace.WithAttributes(attributes...)}
	commits, alone := commitsOf(call.Events)
	links := commits
	if !call.Batch {
		links = nil
	}
	// Of Run's context there may be a span, which is not what made the change.
	if around := trace.SpanContextFromContext(ctx); around.IsValid() {
		most := min(len(links), mostLinks-1)
		links = append(links[:most:most], trace.Link{SpanContext: around})
	}
	options = append(options, trace.WithLinks(links...))
	if alone {
		ctx = trace.ContextWithRemoteSpanContext(ctx, commits[0].SpanContext)
	} else {
		options = append(options, trace.WithNewRoot())
	}
	ctx, span := t.Start(ctx, name, options...)
	return ctx, func(err error) { end(span, err) }
}

// mostLinks bounds the links of a span: that is how many OpenTelemetry keeps unless it is told
// otherwise, and a batch may be of a thousand transactions.
const mostLinks = 128

// commitsOf returns a link to each commit that events are of. alone says that they are all parts of
// one trace.
func commitsOf(events []tracbus.Event) (commits []trace.Link, alone bool) {
	var last tracbus.Trace
	seen, alone := map[trace.SpanID]bool{}, true
	for i, e := range events {
		t := e.About().Trace
		if i > 0 && t == last { // of the same transaction, most often
			continue
		}
		last = t
		commit := spanContext(t)
		if !commit.IsValid() {
			alone = false
			continue
		}
		alone = alone && (len(commits) == 0 || commits[0].SpanContext.TraceID() == commit.TraceID())
		if !seen[commit.SpanID()] && len(commits) < mostLinks {
			seen[commit.SpanID()] = true
			commits = append(commits, trace.Link{SpanContext: commit})
		}
	}
	return commits, alone && len(commits) > 0
}

// end ends a span with what came of it.
func end(span trace.Span, err error) {
	if err != nil && !errors.Is(err, tracbus.ErrNeedsLoad) { // which is no failure
		text := valid(err.Error())
		span.AddEvent("exception", trace.WithAttributes(attribute.String("exception.type", fmt.Sprintf("%T", err)), attribute.String("exception.message", text)))
		span.SetStatus(codes.Error, text)
	}
	span.End()
}

// mostText bounds texts of others, such as an error that quotes a page.
const mostText = 1024

// valid returns a text as exporters take it: one that is not UTF-8 would cost all spans that are
// exported with it.
func valid(text string) string {
	if len(text) > mostText {
		text = text[:mostText] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
