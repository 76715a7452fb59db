// Package telemetry_test tests the modules telemetry and prom with journals in databases, and a Redis.
package telemetry_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/telemetry"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// process is a desk whose spans are exported.
type process struct {
	*desk.Desk
	provider *sdktrace.TracerProvider
	exported *tracetest.InMemoryExporter
}

func newProcess(t *testing.T, s *testdatabase.Server, dsn string, before func(*tracbus.Bus)) process {
	p := process{exported: tracetest.NewInMemoryExporter()}
	p.provider = sdktrace.NewTracerProvider(sdktrace.WithSyncer(p.exported))
	t.Cleanup(func() { assert.NoError(t, p.provider.Shutdown(context.Background())) })
	p.Desk = desk.Seat(t, s, dsn, desk.Config{Bus: tracbus.BusConfig{Tracer: telemetry.NewTracer(p.provider)}, Before: before})
	return p
}

type batches func(context.Context, []tracbus.Event) error

func (f batches) HandleBatch(ctx context.Context, events []tracbus.Event) error {
	return f(ctx, events)
}

// TestRequest follows one request: the commit in its process, the listeners of both processes under
// every scope, what one of them changes in turn, the publisher, and who reads its stream.
func TestRequest(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		client := testkit.PatientClient(t, testserver.Redis(t, testserver.RedisOptions{}).Addr())
		publisher := tracbus.NewPublisher(client, tracbus.PublisherConfig{StreamKey: "changes"})
		t.Cleanup(publisher.Close)
		dsn := s.DSN(s.Name())

		a := newProcess(t, s, dsn, func(b *tracbus.Bus) {
			b.All(tracbus.Durable("redis"), publisher)
			tracbus.On(b, tracbus.Durable("mail"), func(context.Context, tracbus.TicketChanged) error { return nil })
			b.All(tracbus.Durable("index"), batches(func(context.Context, []tracbus.Event) error { return nil }))
		})
		var b process
		reacted := make(chan int64, 1)
		b = newProcess(t, s, dsn, func(bus *tracbus.Bus) {
			bus.All(tracbus.Everywhere, batches(func(context.Context, []tracbus.Event) error { return nil }))
			tracbus.On(bus, tracbus.Everywhere, func(ctx context.Context, e tracbus.TicketChanged) error {
				if e.Comment != "request" {
					return nil
				}
				tid, err := b.Update(ctx, desk.Joe, func(tx *tracbus.ModelTransaction) error {
					return tx.Record(ctx, desk.Remark(2, "reaction"))
				})
				reacted <- tid
				return err
			})
		})

		ctx, request := a.provider.Tracer("test").Start(testkit.Within(t), "POST /ticket/1")
		_, err := a.Update(ctx, desk.Joe, func(tx *tracbus.ModelTransaction) error {
			return tx.Record(ctx, desk.Remark(1, "request"))
		})
		require.NoError(t, err)
		request.End()
		last := <-reacted
		for _, p := range []process{a, b} {
			require.NoError(t, p.Wait(testkit.Within(t), last))
			require.NoError(t, p.Bus.Wait(testkit.Within(t)))
		}
		for _, p := range []process{a, b} {
			p.Leave(t) // so that all spans have ended
		}

		id := request.SpanContext().TraceID()
		var commits []trace.SpanID // of the request, and of the reaction
		deliveries := map[string]int64{}
		for _, span := range append(a.exported.GetSpans(), b.exported.GetSpans()...) {
			assert.Equal(t, id, span.SpanContext.TraceID(), "%s %v", span.Name, span.Attributes)
			assert.Zero(t, span.Status, "%s %v", span.Name, span.Attributes)
			if span.Name == "tracbus.commit" {
				commits = append(commits, span.SpanContext.SpanID())
			}
		}
		require.Len(t, commits, 2)
		for _, span := range append(a.exported.GetSpans(), b.exported.GetSpans()...) {
			switch set := attribute.NewSet(span.Attributes...); span.Name {
			case "tracbus.deliver", "tracbus.publish":
				assert.Contains(t, commits, span.Parent.SpanID(), "%v", span.Attributes)
				for _, link := range span.Links {
					assert.Contains(t, commits, link.SpanContext.SpanID(), "%v", span.Attributes)
				}
				scope, _ := set.Value("tracbus.scope")
				events, _ := set.Value("tracbus.events")
				what := span.Name + " " + scope.AsString()
				deliveries[what] += events.AsInt64()
				deliveries[what+", links"] += int64(len(span.Links))
			}
		}
		published, links := "tracbus.publish durable redis", "tracbus.publish durable redis, links"
		assert.GreaterOrEqual(t, deliveries[published], int64(2)) // again, if it has to be found out where Redis is
		assert.Equal(t, deliveries[published], deliveries[links])
		delete(deliveries, published)
		delete(deliveries, links)
		assert.Equal(t, map[string]int64{
			"tracbus.deliver primary": 2, "tracbus.deliver primary, links": 0, // of each desk, what it committed
			"tracbus.deliver everywhere": 8, "tracbus.deliver everywhere, links": 2, // of each desk, and of b's two, both changes
			"tracbus.deliver durable mail": 2, "tracbus.deliver durable mail, links": 0,
			"tracbus.deliver durable index": 2, "tracbus.deliver durable index, links": 2,
		}, deliveries)

		var read []tracbus.Event
		for entry, err := range tracbus.NewSubscriber(client, tracbus.SubscriberConfig{}).Stream(testkit.Within(t), "changes", "0") {
			require.NoError(t, err)
			if _, isResync := entry.Event.(tracbus.Resync); !isResync {
				read = append(read, entry.Event)
			}
			if len(read) == 2 {
				break
			}
		}
		for i, e := range read {
			_, span := b.provider.Tracer("reader").Start(telemetry.ContextOf(t.Context(), e), "reindex")
			assert.Equal(t, id, span.SpanContext().TraceID())
			assert.Contains(t, e.About().Trace.Parent, commits[i].String())
			span.End()
		}
	})
}

// commits returns the spans of commits that were exported so far.
func commits(p process) tracetest.SpanStubs {
	return slices.DeleteFunc(p.exported.GetSpans(), func(s tracetest.SpanStub) bool { return s.Name != "tracbus.commit" })
}

// TestCommitWith: the span of a commit has the application's COMMIT in it, and what became of that.
func TestCommitWith(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		p := newProcess(t, s, s.DSN(s.Name()), func(*tracbus.Bus) {})
		for name, want := range map[string]codes.Code{"commits": codes.Unset, "fails": codes.Error, "panics": codes.Error} {
			p.exported.Reset()
			q, err := p.DB.BeginTx(testkit.Within(t), nil)
			require.NoError(t, err)
			commit := func() error {
				assert.Empty(t, commits(p), "%s: the span has not ended", name)
				switch name {
				case "fails":
					return errors.Join(errors.New("no"), q.Rollback())
				case "panics":
					require.NoError(t, q.Rollback())
					panic("no")
				}
				return q.Commit()
			}
			func() {
				defer func() { assert.Equal(t, name == "panics", recover() != nil) }()
				_, err = p.CommitWith(testkit.Within(t), q, desk.Joe, commit, desk.Remark(1, name))
				assert.Equal(t, name == "fails", err != nil, "%v", err)
			}()
			spans := commits(p)
			require.Len(t, spans, 1, name)
			assert.Equal(t, want, spans[0].Status.Code, name)
		}
	})
}
