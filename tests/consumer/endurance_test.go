package consumer_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestNamesEndure keeps a thousand consumers on ten connections, at rest and then under
// load, for so many minutes each as TRACBUS_NAMES_MINUTES says, and prints what that
// costs. TRACBUS_NAMES_MINUTES=10 go test -run 'TestNamesEndure/postgresql' -v -timeout 1h ./tests/consumer
func TestNamesEndure(t *testing.T) {
	minutes, err := strconv.ParseFloat(os.Getenv("TRACBUS_NAMES_MINUTES"), 64)
	if err != nil {
		t.Skip("TRACBUS_NAMES_MINUTES is not set")
	}
	span := time.Duration(minutes * float64(time.Minute))
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		const names = 1000
		k := seatCrowd(t, s, s.DSN(s.Name()), names, 10, tracbus.DurableConfig{}, nil)
		k.holds(t, names)
		began := time.Now()
		_, err := k.Status(testkit.Within(t))
		require.NoError(t, err)
		t.Logf("%s: Status of %d consumers at rest took %v", s.Dialect, names, time.Since(began).Round(time.Millisecond))
		k.measure(t, "at rest", span, func(ctx context.Context) { <-ctx.Done() })
		k.measure(t, "under load", span, func(ctx context.Context) {
			for i := int64(1); ctx.Err() == nil; i++ {
				k.Say(t, fmt.Sprint("remark ", i), i%100+1)
				handled := i * names
				testkit.Until(t, "it is handled", func() bool {
					time.Sleep(time.Millisecond)
					return k.handled.Load() > handled-20*names // they are some changes behind
				})
			}
		})
		began = time.Now()
		_, err = k.Status(testkit.Within(t))
		require.NoError(t, err)
		t.Logf("%s: Status of %d consumers at work took %v", s.Dialect, names, time.Since(began).Round(time.Millisecond))
		testkit.Until(t, "all is handled", func() bool {
			time.Sleep(50 * time.Millisecond)
			for _, c := range k.rows(t) {
				if c.Lag > 0 {
					return false
				}
			}
			return true
		})
		assert.Empty(t, k.lost())
	})
}

// measure prints what a phase costs.
func (k *crowd) measure(t *testing.T, what string, span time.Duration, f func(context.Context)) {
	ctx, cancel := context.WithTimeout(t.Context(), span)
	defer cancel()
	statements, handled, busy, lost, began := k.statements.Load(), k.handled.Load(), processor(), len(k.lost()), time.Now()
	f(ctx)
	seconds := time.Since(began).Seconds()
	t.Logf("%s for %.0f s: leases lost %d, statements a second %.1f, calls of listeners a second %.0f, processor time of the process %.1f %% of one",
		what, seconds, len(k.lost())-lost, float64(k.statements.Load()-statements)/seconds, float64(k.handled.Load()-handled)/seconds, 100*(processor()-busy)/seconds)
}

// processor returns the seconds that this process has worked.
func processor() float64 {
	runtime.GC() // which counts them
	all := []metrics.Sample{{Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"}}
	metrics.Read(all)
	return all[0].Value.Float64() - all[1].Value.Float64()
}
