package bench_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
)

// BenchmarkLargeTransaction measures how many changes per second of one transaction
// with 100,000 of them (10,000 on a server, which takes longer for each) come to
// listeners that take them one by one. "write" is the
// same number of cursors stored by one statement each: what a durable listener
// could reach if all else cost nothing.
func BenchmarkLargeTransaction(b *testing.B) {
	for dialect, changes := range map[string]int64{"sqlite": 100_000, "postgresql": 10_000, "mysql": 10_000} {
		b.Run(fmt.Sprintf("%s/changes=%d", dialect, changes), func(b *testing.B) {
			var durable, everywhere, write []float64
			for b.Loop() {
				s := durableReadServer(b, dialect)
				db := s.New(b)
				bus := tracbus.BusConfig{Logger: testkit.Quiet}.NewBus("bench")
				var one, all atomic.Int64
				tracbus.On(bus, tracbus.Durable("one"), func(context.Context, tracbus.TicketChanged) error { one.Add(1); return nil })
				tracbus.On(bus, tracbus.Everywhere, func(context.Context, tracbus.TicketChanged) error { all.Add(1); return nil })
				j, err := tracbus.OpenJournal(b.Context(), db, bus, tracbus.JournalConfig{Dialect: tracbus.Dialect(dialect), Logger: testkit.Quiet})
				require.NoError(b, err)
				_, err = j.Update(b.Context(), desk.Joe, func(tx *tracbus.ModelTransaction) error {
					for id := range changes {
						if err := tx.Record(b.Context(), desk.Remark(id+1, "one of many")); err != nil {
							return err
						}
					}
					return nil
				})
				require.NoError(b, err)
				ctx, cancel := context.WithCancel(b.Context())
				ended := make(chan error, 1)
				began := time.Now()
				go func() { ended <- j.Run(ctx) }()
				for all.Load() < changes {
					pause(b, time.Millisecond)
				}
				everywhere = append(everywhere, float64(changes)/time.Since(began).Seconds())
				for one.Load() < changes {
					pause(b, time.Millisecond)
				}
				durable = append(durable, float64(changes)/time.Since(began).Seconds())
				cancel()
				require.NoError(b, <-ended)
				require.NoError(b, j.Close(b.Context()))
				require.NoError(b, bus.Close(b.Context()))

				const some = 5_000
				began = time.Now()
				for n := range some {
					_, err := db.ExecContext(b.Context(), desk.Marks(tracbus.Dialect(dialect), "UPDATE journal_consumer SET seq = ?"), n)
					require.NoError(b, err)
				}
				write = append(write, some/time.Since(began).Seconds())
			}
			b.ReportMetric(0, "ns/op")
			reportMedian(b, durable, "durable-changes/s")
			reportMedian(b, everywhere, "everywhere-changes/s")
			reportMedian(b, write, "write/s")
		})
	}
}
