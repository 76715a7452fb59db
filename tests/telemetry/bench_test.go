package telemetry_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/telemetry"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// BenchmarkUpdate is one change with one listener, on SQLite: without a Tracer, with one that has no
// provider, with a request that is not sampled, and with one that is.
func BenchmarkUpdate(b *testing.B) {
	sampled := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()))
	never := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
	for _, way := range []struct {
		name   string
		tracer tracbus.Tracer
	}{
		{"none", nil}, {"noop", telemetry.NewTracer(noop.NewTracerProvider())}, {"not sampled", telemetry.NewTracer(never)}, {"sampled", telemetry.NewTracer(sampled)},
	} {
		b.Run(way.name, func(b *testing.B) {
			s := testdatabase.New(b, "sqlite")
			bus := tracbus.BusConfig{Tracer: way.tracer, Logger: testkit.Quiet}.NewBus("bench")
			tracbus.On(bus, tracbus.Everywhere, func(context.Context, tracbus.TicketChanged) error { return nil })
			j, err := tracbus.OpenJournal(b.Context(), s.New(b), bus, tracbus.JournalConfig{Dialect: tracbus.SQLite, Logger: testkit.Quiet})
			require.NoError(b, err)
			ran := make(chan error, 1)
			go func() { ran <- j.Run(context.Background()) }()
			b.ReportAllocs()
			var last int64
			for b.Loop() {
				last, err = j.Update(b.Context(), desk.Joe, func(tx *tracbus.ModelTransaction) error {
					return tx.Record(b.Context(), desk.Remark(1, "a comment"))
				})
				require.NoError(b, err)
			}
			require.NoError(b, j.Wait(b.Context(), last))
			require.NoError(b, j.Close(context.Background()))
			require.NoError(b, <-ran)
			require.NoError(b, bus.Close(context.Background()))
		})
	}
}
