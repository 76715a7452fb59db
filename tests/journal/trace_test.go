package journal_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// commitTracer gives every commit the trace that its context has, and writes down how it ended.
type commitTracer struct{ diary *testkit.Diary }

// traceKey is the key of a context's trace.
type traceKey struct{}

func (c commitTracer) Commit(ctx context.Context, env string) (context.Context, tracbus.Trace, func(int64, error)) {
	trace, _ := ctx.Value(traceKey{}).(tracbus.Trace)
	return ctx, trace, func(tid int64, err error) {
		c.diary.Write("%s, tid %v, not committed %v", env, tid > 0, errors.Is(err, tracbus.ErrNotCommitted))
	}
}

func (commitTracer) Call(ctx context.Context, _ tracbus.ListenerCall) (context.Context, func(error)) {
	return ctx, func(error) {}
}

// testTrace: the trace of a commit's context is stored with the changes of the transaction, every
// process gets it, and what reads back yields it. One that is malformed, or that somebody spoiled in
// the table, is none.
func testTrace(t *testing.T, s *testdatabase.Server, dsn string) {
	var diary testkit.Diary
	a := desk.Seat(t, s, dsn, desk.Config{Bus: tracbus.BusConfig{Tracer: commitTracer{&diary}}})
	b := desk.Seat(t, s, dsn, desk.Config{})
	parent := func(n int) string { return fmt.Sprintf("00-%032x-%016x-01", n, n) }
	within := func(trace tracbus.Trace) context.Context {
		return context.WithValue(testkit.Within(t), traceKey{}, trace)
	}
	say := func(ctx context.Context, d *desk.Desk, comment string) int64 {
		tid, err := d.Update(ctx, desk.Joe, func(tx *tracbus.ModelTransaction) error {
			other := desk.Remark(2, comment)
			other.Trace = tracbus.Trace{Parent: parent(99)} // of another request, as of one that is recorded again
			return errors.Join(tx.Record(ctx, desk.Remark(1, comment)), tx.Record(ctx, other))
		})
		require.NoError(t, err)
		return tid
	}
	first := tracbus.Trace{Parent: parent(1), State: "rojo=00f067aa0ba902b7,congo=t61"}
	say(within(first), a, "first")
	say(within(tracbus.Trace{Parent: "malformed", State: "a=1"}), a, "second")
	say(within(first), b, "third") // whose process has no Tracer

	joined, err := a.DB.BeginTx(testkit.Within(t), nil)
	require.NoError(t, err)
	tx, err := a.Join(joined)
	require.NoError(t, err)
	require.NoError(t, tx.Prepare(desk.Joe, ""))
	require.NoError(t, tx.Record(testkit.Within(t), desk.Remark(1, "fourth")))
	_, err = tx.Flush(within(tracbus.Trace{Parent: parent(4)}))
	require.NoError(t, err)
	require.NoError(t, joined.Commit())
	tx.Notify()

	_, err = a.Update(testkit.Within(t), desk.Joe, func(*tracbus.ModelTransaction) error { return nil }) // nothing to trace
	require.NoError(t, err)
	ended, cancel := context.WithCancel(testkit.Within(t))
	_, err = a.Update(ended, desk.Joe, func(tx *tracbus.ModelTransaction) error {
		defer cancel()
		return tx.Record(ended, desk.Remark(1, "never"))
	})
	require.ErrorIs(t, err, tracbus.ErrNotCommitted)

	last := say(within(tracbus.Trace{Parent: parent(5)}), a, "last")
	want := []tracbus.Trace{first, first, {}, {}, {}, {}, {Parent: parent(4)}, {Parent: parent(5)}, {Parent: parent(5)}}
	traces := func(all []tracbus.Event) (found []tracbus.Trace) {
		for _, e := range all {
			found = append(found, e.About().Trace)
		}
		return found
	}
	for _, d := range []*desk.Desk{a, b} {
		require.NoError(t, d.Wait(testkit.Within(t), last))
		all, _ := d.Heard()
		assert.Equal(t, want, traces(all))
	}
	readBack := func() (read []tracbus.Event) {
		for e, err := range b.Since(testkit.Within(t), 0) {
			require.NoError(t, err)
			read = append(read, e)
		}
		return read
	}
	assert.Equal(t, want, traces(readBack()))
	committed, not := "desk, tid true, not committed false", "desk, tid false, not committed true"
	assert.Equal(t, []string{committed, committed, committed, not, committed}, diary.Read())

	for _, spoiled := range []string{strings.ToUpper("00-" + strings.Repeat("ab", 16)), strings.Repeat("0", 100_000), "00-1"} {
		_, err = a.DB.ExecContext(testkit.Within(t), `UPDATE journal_change SET document = replace(document, '`+parent(5)+`', '`+spoiled+`')`)
		require.NoError(t, err)
		read := readBack()
		require.Len(t, read, len(want))
		assert.Zero(t, read[len(want)-1].About().Trace, "%.40s", spoiled)
		assert.Equal(t, "last", read[len(want)-1].About().Comment)
		_, err = a.DB.ExecContext(testkit.Within(t), `UPDATE journal_change SET document = replace(document, '`+spoiled+`', '`+parent(5)+`')`)
		require.NoError(t, err)
	}
	assert.Equal(t, want, traces(readBack()))
}
