package tracbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/internal/testkit"
)

// callTracer writes down the calls of listeners.
type callTracer struct{ diary *testkit.Diary }

// inCall is the key of what a context says that callTracer has made.
type inCall struct{}

func (callTracer) Commit(ctx context.Context, _ string) (context.Context, Trace, func(int64, error)) {
	panic("there is no journal")
}

func (c callTracer) Call(ctx context.Context, call ListenerCall) (context.Context, func(error)) {
	what := fmt.Sprintf("%s %s publishes %v batch %v", call.Env, call.Scope, call.Publishes, call.Batch)
	for _, e := range call.Events {
		what += " " + e.Resource().ID
	}
	return context.WithValue(ctx, inCall{}, what), func(err error) { c.diary.Write("%s: %v", what, err) }
}

type batches func(context.Context, []Event) error

func (f batches) HandleBatch(ctx context.Context, events []Event) error { return f(ctx, events) }

// The Tracer is told of each call of a listener and of how it ended, however it did; and its
// context is the listener's. What the listener does is otherwise as without it.
func TestTracerOfCalls(t *testing.T) {
	testkit.NoLeaks(t)
	var diary testkit.Diary
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	bus := BusConfig{Tracer: callTracer{&diary}, Logger: quiet, Backoff: 1, MaxRetries: 1}.NewBus("test")
	listens := map[string]func() error{
		"Fine":    func() error { return nil },
		"Wrong":   func() error { return errors.New("no") },
		"Panics":  func() error { panic("secret") },
		"Goexits": func() error { runtime.Goexit(); return nil },
	}
	registration := On(bus, Everywhere, func(ctx context.Context, e WikiPageCreated) error {
		assert.Contains(t, ctx.Value(inCall{}), e.Page.Name)
		return listens[e.Page.Name]()
	})
	for _, name := range []string{"Fine", "Wrong", "Panics", "Goexits", "Fine"} {
		require.NoError(t, bus.Notify(WikiPageCreated{Page: WikiPage{Name: name, Version: 1}}))
	}
	require.NoError(t, bus.Wait(t.Context()))
	const gone = ": the listener panicked, or ended its goroutine"
	one := "test everywhere publishes false batch false "
	assert.Equal(t, []string{
		one + "Fine: <nil>", one + "Wrong: no", one + "Wrong: no", one + "Panics" + gone, one + "Panics" + gone,
		one + "Goexits" + gone, one + "Fine: <nil>",
	}, diary.Read())
	s := registration.Status()
	assert.Equal(t, []uint64{5, 3, 2}, []uint64{s.Delivered, s.Failed, s.Retried})
	require.NoError(t, registration.Close(t.Context()))

	diary = testkit.Diary{}
	bus.All(Primary, batches(func(ctx context.Context, events []Event) error {
		assert.NotNil(t, ctx.Value(inCall{}))
		return errors.New("none")
	}))
	require.NoError(t, bus.Notify(WikiPageCreated{Page: WikiPage{Name: "A", Version: 1}}))
	require.NoError(t, bus.Close(t.Context()))
	assert.Equal(t, []string{"test primary publishes false batch true A: none"}, diary.Read())
}

// A trace that an event brings to a bus without a journal is kept if it is one.
func TestTraceOfNotify(t *testing.T) {
	testkit.NoLeaks(t)
	bus := NewBus("test")
	var got []Trace
	On(bus, Primary, func(_ context.Context, e Event) error { got = append(got, e.About().Trace); return nil })
	parent := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, trace := range []Trace{{parent, "a=1"}, {parent, "a=\n"}, {"x", "a=1"}, {State: "a=1"}, {Parent: strings.Repeat("0", 1<<16)}} {
		require.NoError(t, bus.Notify(WikiPageCreated{Change: Change{Trace: trace}, Page: WikiPage{Name: "A", Version: 1}}))
	}
	require.NoError(t, bus.Close(t.Context()))
	assert.Equal(t, []Trace{{parent, "a=1"}, {Parent: parent}, {}, {}, {}}, got)
}

// Without a Tracer nothing is paid for it: no call is wrapped, and a commit allocates nothing more.
func TestNoTracer(t *testing.T) {
	bus := NewBus("test")
	t.Cleanup(func() { assert.NoError(t, bus.Close(context.Background())) })
	tx := &ModelTransaction{journal: &Journal{bus: bus}}
	tx.pending.Add(entry.Entry{Resource: entry.Resource{Realm: "wiki", ID: "A"}, Kind: "created"})
	ctx := t.Context()
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_, done := tx.traced(ctx)
		done(1, nil)
	}))
	deliver := func(context.Context, Event) error { return nil }
	listener := delivery.Listener[Event]{Deliver: deliver}
	assert.Equal(t, reflect.ValueOf(deliver).Pointer(), reflect.ValueOf(bus.traced(Primary, deliver, listener).Deliver).Pointer())
}
