package bench_test

import (
	"context"
	"encoding/json"
	"runtime"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/internal/value"
	"github.com/tracbus/tracbus/internal/wire"
)

// encoding measures what it costs to make the payload of an event.
func encoding(*testing.T) *contest.Contest {
	e := ticket(17)
	said, orders := wire.Said{Author: e.Author, Comment: e.Comment}, new(value.Orders)
	var buffer []byte
	same := map[string]any{"new_values": e.Values, "old_values": e.Old, "author": e.Author, "comment": e.Comment, "id": e.ID}
	return &contest.Contest{
		About: "The payload of a ticket's change with all fifteen fields, as a publisher makes it, and of the same maps by encoding/json. " +
			"Encode checks the event before, and returns channel and payload as strings.",
		Units: []string{" ns", "allocations"},
		Ways: []contest.Way{
			repeated("encoding/json", func() error { _, err := json.Marshal(same); return err }),
			repeated("a publisher", func() (err error) {
				buffer, err = wire.AppendChange(buffer[:0], said, e.ID, e.Values, e.Old, orders)
				return err
			}),
			repeated("PublisherConfig.Encode", func() error { _, _, err := tracbus.PublisherConfig{FullNewValues: true}.Encode(e); return err }),
		},
	}
}

// repeated is a way that does something small again and again.
func repeated(name string, do func() error) contest.Way {
	return contest.Way{Name: name, Run: func(_ context.Context, _ int, long time.Duration) ([]float64, error) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began, n := time.Now(), 0
		for n == 0 || time.Since(began) < long {
			for range 100 {
				if err := do(); err != nil {
					return nil, err
				}
			}
			n += 100
		}
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		return []float64{float64(took.Nanoseconds()) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n)}, nil
	}}
}
