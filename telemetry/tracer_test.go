package telemetry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
)

// recorded returns a provider, and what it has exported.
func recorded(t *testing.T, options ...sdktrace.TracerProviderOption) (*sdktrace.TracerProvider, *tracetest.InMemoryExporter) {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(append(options, sdktrace.WithSyncer(exporter))...)
	t.Cleanup(func() { assert.NoError(t, provider.Shutdown(context.Background())) })
	return provider, exporter
}

// page is a change of a page that a request with the given numbers made.
func page(name string, traceID, spanID int) tracbus.WikiPageCreated {
	e := tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: name, Version: 1}}
	if traceID > 0 {
		e.Trace = tracbus.Trace{Parent: fmt.Sprintf("00-%032x-%016x-01", traceID, spanID)}
	}
	return e
}

func number(n int) trace.TraceID { return trace.TraceID{15: byte(n)} }

// A call with one change is within the change's trace, in the listener's context too, and the span
// says what became of it.
func TestDeliver(t *testing.T) {
	testkit.NoLeaks(t)
	provider, exporter := recorded(t)
	bus := tracbus.BusConfig{Tracer: NewTracer(provider), Logger: testkit.Quiet, MaxRetries: -1}.NewBus("test")
	var within []trace.SpanContext
	tracbus.On(bus, tracbus.Everywhere, func(ctx context.Context, e tracbus.WikiPageCreated) error {
		within = append(within, trace.SpanContextFromContext(ctx))
		switch e.Page.Name {
		case "Wrong":
			return errors.New("no room")
		case "Again":
			return fmt.Errorf("of %s: %w", e.Page.Name, tracbus.ErrNeedsLoad)
		case "Panics":
			panic("secret")
		}
		return nil
	})
	require.NoError(t, bus.Notify(page("Fine", 1, 11), page("Wrong", 2, 12), page("Again", 3, 13), page("Panics", 4, 14), page("Untraced", 0, 0)))
	require.NoError(t, bus.Close(t.Context()))

	spans := exporter.GetSpans()
	require.Len(t, spans, 5)
	for i, span := range spans {
		assert.Equal(t, "tracbus.deliver", span.Name)
		assert.Equal(t, trace.SpanKindConsumer, span.SpanKind)
		assert.Equal(t, within[i], span.SpanContext)
		assert.Empty(t, span.Links)
		if i < 4 {
			assert.Equal(t, number(i+1), span.SpanContext.TraceID())
			assert.Equal(t, trace.SpanID{7: byte(11 + i)}, span.Parent.SpanID())
			assert.True(t, span.Parent.IsRemote())
		}
	}
	assert.False(t, spans[4].Parent.IsValid(), "it begins a trace")
	assert.True(t, spans[4].SpanContext.IsSampled())
	assert.Equal(t, []codes.Code{codes.Unset, codes.Error, codes.Unset, codes.Error, codes.Unset},
		[]codes.Code{spans[0].Status.Code, spans[1].Status.Code, spans[2].Status.Code, spans[3].Status.Code, spans[4].Status.Code})
	assert.Equal(t, "no room", spans[1].Status.Description)
	assert.Equal(t, "the listener panicked, or ended its goroutine", spans[3].Status.Description)
	set := attribute.NewSet(spans[0].Attributes...)
	for key, want := range map[attribute.Key]any{
		envKey: "test", eventEnvKey: "test", scopeKey: "everywhere", eventsKey: int64(1), tidKey: int64(0), realmKey: "wiki", idKey: "Fine", kindKey: "created",
	} {
		got, _ := set.Value(key)
		assert.Equal(t, want, got.AsInterface(), key)
	}
	name, _ := set.Value(listenerKey)
	assert.Contains(t, name.AsString(), "TestDeliver")
}

type batches func(context.Context, []tracbus.Event) error

func (f batches) HandleBatch(ctx context.Context, events []tracbus.Event) error {
	return f(ctx, events)
}

// A call with several changes has a link to each commit, and is within a trace if that is the only one.
func TestBatch(t *testing.T) {
	testkit.NoLeaks(t)
	provider, exporter := recorded(t)
	bus := tracbus.BusConfig{Tracer: NewTracer(provider)}.NewBus("test")
	var sizes []int
	held, release := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(held); <-release })
	bus.All(tracbus.Primary, batches(func(_ context.Context, events []tracbus.Event) error {
		once()
		sizes = append(sizes, len(events))
		return nil
	}))
	require.NoError(t, bus.Notify(page("A", 1, 11))) // on which the listener is held up, so that the rest is one batch
	<-held
	require.NoError(t, bus.Notify(page("B", 2, 21), page("C", 2, 21), page("D", 0, 0), page("E", 3, 31), page("F", 2, 21), page("G", 2, 22)))
	close(release)
	require.NoError(t, bus.Close(t.Context()))

	spans := exporter.GetSpans()
	require.Equal(t, []int{1, 6}, sizes)
	require.Len(t, spans, 2)
	assert.Equal(t, number(1), spans[0].SpanContext.TraceID())
	assert.Len(t, spans[0].Links, 1)
	assert.False(t, spans[1].Parent.IsValid())
	var linked []string
	for _, l := range spans[1].Links {
		linked = append(linked, fmt.Sprint(l.SpanContext.TraceID()[15], " ", l.SpanContext.SpanID()[7]))
	}
	assert.Equal(t, []string{"2 21", "3 31", "2 22"}, linked)
}

// TestCommitsOf: who is alone in a batch, and how many links it has at most.
func TestCommitsOf(t *testing.T) {
	events := func(all ...tracbus.Event) []tracbus.Event { return all }
	var many []tracbus.Event
	for i := range 1024 {
		many = append(many, page("A", 1, i+1))
	}
	for name, tc := range map[string]struct {
		events []tracbus.Event
		links  int
		alone  bool
	}{
		"none":                  {nil, 0, false},
		"untraced":              {events(page("A", 0, 0), page("B", 0, 0)), 0, false},
		"one commit":            {events(page("A", 1, 1), page("B", 1, 1)), 1, true},
		"two of a trace":        {events(page("A", 1, 1), page("B", 1, 2)), 2, true},
		"two traces":            {events(page("A", 1, 1), page("B", 2, 2)), 2, false},
		"one and an untraced":   {events(page("A", 1, 1), page("B", 0, 0)), 1, false},
		"an untraced and one":   {events(page("A", 0, 0), page("B", 1, 1)), 1, false},
		"a thousand of a trace": {many, mostLinks, true},
		"and one of another":    {append(many, page("B", 2, 1)), mostLinks, false},
	} {
		links, alone := commitsOf(tc.events)
		assert.Len(t, links, tc.links, name)
		assert.Equal(t, tc.alone, alone, name)
	}
}

// A request that is not sampled has no spans, and what it calls knows that.
func TestNotSampled(t *testing.T) {
	testkit.NoLeaks(t)
	provider, exporter := recorded(t, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())))
	bus := tracbus.BusConfig{Tracer: NewTracer(provider)}.NewBus("test")
	var got tracbus.Trace
	tracbus.On(bus, tracbus.Primary, func(ctx context.Context, e tracbus.WikiPageCreated) error { got = TraceOf(ctx); return nil })
	e := page("A", 1, 1)
	e.Trace.Parent = strings.TrimSuffix(e.Trace.Parent, "01") + "00"
	require.NoError(t, bus.Notify(e))
	require.NoError(t, bus.Close(t.Context()))
	assert.Empty(t, exporter.GetSpans())
	assert.Contains(t, got.Parent, e.Trace.Parent[:35])
	assert.True(t, strings.HasSuffix(got.Parent, "-00"), got.Parent)
}

// A trace goes into a context and out again, with what tracing systems say of it; and one that is
// malformed is none.
func TestContextOf(t *testing.T) {
	e := page("A", 1, 1)
	e.Trace.State = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
	ctx := ContextOf(t.Context(), e)
	assert.Equal(t, e.Trace, TraceOf(ctx))
	assert.True(t, trace.SpanContextFromContext(ctx).IsRemote())
	assert.Equal(t, ctx, ContextOf(ctx, page("B", 0, 0)))
	assert.Equal(t, ctx, ContextOf(ctx, nil))
	assert.Zero(t, TraceOf(t.Context()))
	for _, hostile := range []tracbus.Trace{{Parent: "x"}, {Parent: strings.Repeat("0", 1<<20)}, {State: "a=1"}, {Parent: "00-00000000000000000000000000000000-0000000000000001-01"}} {
		e.Trace = hostile
		assert.Equal(t, t.Context(), ContextOf(t.Context(), e))
	}
	e.Trace = tracbus.Trace{Parent: page("A", 1, 1).Trace.Parent, State: "=,=;not a state"}
	assert.Equal(t, page("A", 1, 1).Trace, TraceOf(ContextOf(t.Context(), e)), "the state alone is left out")
}

// A context that a listener is called with may have a span of its own, such as one around Run. A
// change without a trace begins one nevertheless, with a link to that span.
func TestAroundRun(t *testing.T) {
	provider, exporter := recorded(t)
	ctx, around := provider.Tracer("test").Start(t.Context(), "run")
	around.End()
	for _, e := range []tracbus.Event{page("A", 0, 0), page("B", 7, 71)} {
		_, done := NewTracer(provider).Call(ctx, tracbus.ListenerCall{Env: "test", Scope: tracbus.Primary, Events: []tracbus.Event{e}})
		done(nil)
	}
	spans := exporter.GetSpans()[1:]
	require.Len(t, spans, 2)
	assert.False(t, spans[0].Parent.IsValid())
	assert.NotEqual(t, around.SpanContext().TraceID(), spans[0].SpanContext.TraceID())
	assert.Equal(t, number(7), spans[1].SpanContext.TraceID())
	for _, span := range spans {
		require.Len(t, span.Links, 1)
		assert.Equal(t, around.SpanContext().SpanID(), span.Links[0].SpanContext.SpanID())
	}
}

// Texts of others are bounded, and such as exporters take.
func TestTextsOfOthers(t *testing.T) {
	provider, exporter := recorded(t)
	e := page("b\xffd", 1, 1)
	e.Env = "own"
	_, done := NewTracer(provider).Call(t.Context(), tracbus.ListenerCall{Env: "test", Scope: tracbus.Primary, Events: []tracbus.Event{e}})
	done(errors.New("\xff" + strings.Repeat("é", 1<<20)))
	span := exporter.GetSpans()[0]
	texts := []string{span.Status.Description}
	for _, a := range append(span.Attributes, span.Events[0].Attributes...) {
		texts = append(texts, a.Value.AsString())
	}
	for _, text := range texts {
		assert.True(t, utf8.ValidString(text), "%q", text)
		assert.LessOrEqual(t, len(text), mostText+len("…")+len("\uFFFD")*2)
	}
	assert.True(t, strings.HasPrefix(span.Status.Description, "\uFFFDé"))
	set := attribute.NewSet(span.Attributes...)
	for key, want := range map[attribute.Key]string{envKey: "test", eventEnvKey: "own", idKey: "b\uFFFDd"} {
		got, _ := set.Value(key)
		assert.Equal(t, want, got.AsString())
	}
}
