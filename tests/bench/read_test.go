package bench_test

import (
	"context"
	mathrand "math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// readServer starts a server with memory for what is read, as one that is set up
// for a large journal has.
func readServer(b *testing.B, dialect string) *testdatabase.Server {
	if dialect == "mysql" {
		args := []string{"--innodb-buffer-pool-size=4G", "--innodb-log-file-size=512M"}
		return &testdatabase.Server{Dialect: dialect, Driver: "mysql", MariaDB: testserver.MariaDB(b, testserver.MariaDBOptions{Args: args})}
	}
	return testdatabase.New(b, dialect)
}

// BenchmarkJournalRead measures how long the next 100 changes take to read, from
// a random place in a small journal and in a large one by turns.
func BenchmarkJournalRead(b *testing.B) {
	const next, small = 100, 10_000
	large := benchEntries(b)
	for _, dialect := range []string{"sqlite", "postgresql", "mysql"} {
		b.Run(dialect, func(b *testing.B) {
			server := readServer(b, dialect)
			filled := func(entries int64) *benchTracker {
				t := newBenchTracker(b, server, tracbus.JournalConfig{BatchSize: next})
				t.first(b)
				t.multiply(b, 1, entries)
				return t
			}
			journals := map[int64]*benchTracker{small: filled(small), large: filled(large)}
			b.Run("next=100", func(b *testing.B) {
				times := map[int64][]float64{}
				for b.Loop() {
					for _, entries := range []int64{small, large} {
						from := mathrand.Int64N(entries - next)
						began := time.Now()
						require.Equal(b, next, since(b, journals[entries], from, next))
						times[entries] = append(times[entries], float64(time.Since(began).Nanoseconds())/1000)
					}
				}
				b.ReportMetric(0, "ns/op") // both of them together say nothing
				of, to := median(times[large]), median(times[small])
				b.ReportMetric(of, "large-µs")
				b.ReportMetric(to, "small-µs")
				b.ReportMetric(of/to, "large/small")
				b.ReportMetric(float64(large), "entries")
			})
		})
	}
}

// since reads up to limit changes, and returns how many there were.
func since(b *testing.B, t *benchTracker, from int64, limit int) (n int) {
	for e, err := range t.journal.Since(b.Context(), from) {
		require.NoError(b, err)
		if n++; n == 1 {
			require.Greater(b, e.About().TID, from)
		}
		if n == limit {
			break
		}
	}
	return n
}

// BenchmarkJournalReplay measures changes per second: read by Since, and by Run
// for a listener, who has to be told of all that another process committed.
func BenchmarkJournalReplay(b *testing.B) {
	const more = 10_000
	for _, dialect := range []string{"sqlite", "postgresql", "mysql"} {
		b.Run(dialect, func(b *testing.B) {
			t := newBenchTracker(b, readServer(b, dialect), tracbus.JournalConfig{})
			t.first(b)
			have := int64(1)
			b.Run("changes=10000", func(b *testing.B) {
				var read, told []float64
				for b.Loop() {
					bus := tracbus.NewBus("test")
					var n atomic.Int64
					tracbus.On(bus, tracbus.Everywhere, func(context.Context, tracbus.TicketChanged) error {
						n.Add(1)
						return nil
					})
					j := openBenchJournal(b, t, bus, tracbus.JournalConfig{})
					t.multiply(b, have, have+more)

					began := time.Now()
					require.Equal(b, more, since(b, t, have, more+1))
					read = append(read, more/time.Since(began).Seconds())

					have += more
					began = time.Now()
					go func() { _ = j.Run(b.Context()) }()
					require.NoError(b, j.Wait(b.Context(), have))
					told = append(told, more/time.Since(began).Seconds())
					require.Equal(b, int64(more), n.Load())
					require.NoError(b, j.Close(b.Context()))
				}
				b.ReportMetric(0, "ns/op") // it fills the journal as well
				b.ReportMetric(median(read), "Since-changes/s")
				b.ReportMetric(median(told), "Run-changes/s")
			})
		})
	}
}
