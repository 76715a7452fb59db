package tracdatabase

import (
	"context"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
)

// Snapshot returns a snapshot for the functions that a [tracbus.LoadListener]
// calls, with the statements of q. It shows what q shows when it is used, and can
// be used until the test ends. The bus must belong to a journal.
func Snapshot(t testing.TB, bus *tracbus.Bus, q tracbus.SQL) *tracbus.Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l := make(loader, 1)
	r := bus.All(tracbus.Everywhere, l)
	select {
	case s := <-l:
		s.SQL = q
		if err := r.Close(ctx); err != nil {
			t.Fatalf("close the listener: %v", err)
		}
		return &s
	case <-ctx.Done():
		t.Fatal("the bus loads no listener")
		return nil
	}
}

// loader is a listener that hands on the snapshot that it is loaded from.
type loader chan tracbus.Snapshot

func (l loader) Load(_ context.Context, s *tracbus.Snapshot) error {
	l <- *s
	return nil
}

func (loader) HandleBatch(context.Context, []tracbus.Event) error { return nil }
