package journal_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// sleeper is a listener that stays in its first call until it is let go on.
type sleeper struct {
	asleep chan struct{} // closed in its first call
	alarm  chan struct{} // to be closed

	mu   sync.Mutex
	told []string
}

func newSleeper() *sleeper { return &sleeper{asleep: make(chan struct{}), alarm: make(chan struct{})} }

func (s *sleeper) hear(_ context.Context, e tracbus.Event) error {
	s.mu.Lock()
	s.told = append(s.told, desk.Brief(e))
	first := len(s.told) == 1
	s.mu.Unlock()
	if first {
		close(s.asleep)
	}
	<-s.alarm
	return nil
}

func (s *sleeper) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.told)
}

// sleep seats a desk with a sleeper that holds one event, while others wait.
func sleep(t *testing.T, s *testdatabase.Server, dsn string, queue int, scope tracbus.Scope) (*desk.Desk, *sleeper, *tracbus.Registration) {
	t.Helper()
	l := newSleeper()
	var r *tracbus.Registration
	d := desk.Seat(t, s, dsn, desk.Config{
		Bus:    tracbus.BusConfig{QueueSize: queue, BatchSize: 1},
		Before: func(b *tracbus.Bus) { r = tracbus.On(b, scope, l.hear) },
	})
	return d, l, r
}

// saying commits remarks one by one, and waits until the desk has heard them.
func saying(t *testing.T, d *desk.Desk, from, to int) (tids []int64) {
	t.Helper()
	for i := from; i <= to; i++ {
		tids = append(tids, d.Say(t, fmt.Sprint(i), 1))
	}
	d.Hears(t, fmt.Sprint(to))
	return tids
}

// forget takes the database back to a tid, and says something new when that is
// seen.
func forget(t *testing.T, d *desk.Desk, tid int64) (last int64) {
	t.Helper()
	tx, err := d.DB.BeginTx(testkit.Within(t), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(testkit.Within(t), "DELETE FROM journal_change WHERE tid > "+fmt.Sprint(tid))
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	d.Hears(t, "(rewound)")
	testkit.Until(t, "a commit behind it", func() bool {
		last, err = d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error { return tx.Record(testkit.Within(t), desk.Remark(1, "new")) })
		return err == nil
	})
	d.Hears(t, "new")
	return last
}

func numbers(from, to int, more ...string) (all []string) {
	for i := from; i <= to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return append(all, more...)
}

// TestSlowRewound has a listener for side effects told of all that still stands
// after a rewind, whether it waited in the queue or was to be read again.
func TestSlowRewound(t *testing.T) {
	for _, test := range []struct {
		queue, upTo int
		want        []string
	}{
		{100, 5, numbers(0, 5, "(rewound)", "new")},
		{4, 5, numbers(0, 4, "(rewound)", "5", "new")}, // lags, and goes on from there
		{4, 4, numbers(0, 4, "(rewound)", "new")},
		{4, 2, numbers(0, 2, "(rewound)", "new")},
		{4, 0, numbers(0, 0, "(rewound)", "new")},
	} {
		t.Run(fmt.Sprintf("queue %d, back to %d", test.queue, test.upTo), func(t *testing.T) {
			s := testdatabase.New(t, "sqlite")
			d, slow, _ := sleep(t, s, s.DSN(s.Name()), test.queue, tracbus.Primary)
			first := saying(t, d, 0, 0)
			<-slow.asleep
			tids := append(first, saying(t, d, 1, 9)...)
			last := forget(t, d, tids[test.upTo])
			close(slow.alarm)
			require.NoError(t, d.Wait(testkit.Within(t), last))
			assert.Equal(t, test.want, slow.heard())
		})
	}
}

// TestSlowPruned prunes what a follower has not read: it goes on with the oldest
// change that is there, and what it had queued is told before.
func TestSlowPruned(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		dsn := s.DSN(s.Name())
		d, slow, _ := sleep(t, s, dsn, 100, tracbus.Everywhere)
		saying(t, d, 0, 0)
		<-slow.asleep
		saying(t, d, 1, 3)
		d.Pause(t)

		other := desk.Seat(t, s, dsn, desk.Config{})
		tids := saying(t, other, 4, 9)
		n, err := other.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 4})
		require.NoError(t, err)
		assert.EqualValues(t, 6, n)

		d.Follow()
		d.Hears(t, "9")
		close(slow.alarm)
		require.NoError(t, d.Wait(testkit.Within(t), tids[5]))
		want := slices.Concat(numbers(0, 3, "(pruned)"), numbers(6, 9))
		assert.Equal(t, want, slow.heard())
		all, _ := d.Heard()
		assert.Equal(t, want, desk.Briefs(all))
	})
}

// TestSlowListenerPruned prunes what was to be read again for a listener.
func TestSlowListenerPruned(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	d, slow, _ := sleep(t, s, s.DSN(s.Name()), 4, tracbus.Primary)
	saying(t, d, 0, 0)
	<-slow.asleep
	tids := saying(t, d, 1, 9)
	_, err := d.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 4})
	require.NoError(t, err)
	close(slow.alarm)
	require.NoError(t, d.Wait(testkit.Within(t), tids[8]))
	assert.Equal(t, slices.Concat(numbers(0, 4, "(pruned)"), numbers(6, 9)), slow.heard())
	all, _ := d.Heard()
	assert.Equal(t, numbers(0, 9), desk.Briefs(all), "who has read it misses nothing")
}

// overheard is a realm that tells what the follower reads, as it reads.
type overheard struct {
	tracbus.Tickets
	read func(comment string)
}

func (o overheard) Event(e tracbus.Entry) (tracbus.Event, error) {
	o.read(e.Change.Comment)
	return o.Tickets.Event(e)
}

// TestSlowReadsInTurn reads much again for a listener that wants none of it, so
// that its queue never fills: others are told of new changes all the same.
func TestSlowReadsInTurn(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	dsn := s.DSN(s.Name())
	writer := desk.Seat(t, s, dsn, desk.Config{Idle: true})
	var read []string // by the follower, which alone uses it until it is told of all
	alarm, asleep := make(chan struct{}), make(chan struct{})
	var pages []string
	d := desk.Seat(t, s, dsn, desk.Config{
		Bus: tracbus.BusConfig{QueueSize: 2, BatchSize: 1},
		Journal: tracbus.JournalConfig{BatchSize: 1, Realms: []tracbus.JournalRealm{tracbus.Pages{}, overheard{read: func(comment string) {
			if comment == "0" && slices.Contains(read, "0") {
				writer.Say(t, "new", 1)
			}
			read = append(read, comment)
		}}}},
		Before: func(b *tracbus.Bus) {
			tracbus.On(b, tracbus.Everywhere, func(_ context.Context, e tracbus.WikiPageCreated) error {
				if pages = append(pages, e.Page.Name); len(pages) == 1 {
					close(asleep)
				}
				<-alarm
				return nil
			})
		},
	})
	want := testkit.Numbered("page", 0, 5)
	for i, page := range want {
		_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error { return tx.Record(testkit.Within(t), desk.NewPage(page)) })
		require.NoError(t, err)
		if i == 0 {
			<-asleep
		}
		// One by one, for none but the one listener may lag.
		d.Until(t, page, func(all, primary []tracbus.Event) bool { return len(all) == i+1 && len(primary) == i+1 })
	}
	for i := range 30 {
		d.Say(t, fmt.Sprint(i), 1)
		n := len(want) + i + 1
		d.Until(t, fmt.Sprint(i), func(all, primary []tracbus.Event) bool { return len(all) == n && len(primary) == n })
	}
	close(alarm)
	d.Hears(t, "new")
	last := d.Say(t, "last", 1)
	require.NoError(t, d.Wait(testkit.Within(t), last))
	assert.Equal(t, want, pages)
	require.NoError(t, d.Journal.Close(testkit.Within(t))) // so that read stays as it is
	again := slices.Index(read[1:], "0") + 1
	assert.LessOrEqual(t, slices.Index(read, "new")-again, 2, "read were %v", read)
}

// TestHeldCounterIsLogged holds MySQL's counter until the log tells of it, which
// no other transaction shows: none gets as far as to take a place.
func TestHeldCounterIsLogged(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	dsn := s.DSN(s.Name())
	log := testkit.NewNotes()
	a, b := desk.Seat(t, s, dsn, desk.Config{Idle: true}), desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{Logger: log.Logger()}})
	b.Say(t, "before", 1)
	q, commit, _ := begin(t, a, s.Dialect)
	joined(t, a, q, "held")
	log.Until(t, "changes are held back by a transaction that does not end")
	log.Until(t, `who="connection `)
	commit()
	b.Hears(t, "held")
	log.Until(t, "changes are not held back any more")
	assert.Equal(t, 1, log.Count("does not end"))
}

// batchTaker takes many events in one call, which it may fail.
type batchTaker struct {
	handle func() error

	mu      sync.Mutex
	told    []string
	resyncs []tracbus.Resync
}

func (b *batchTaker) HandleBatch(_ context.Context, events []tracbus.Event) error {
	if err := b.handle(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, desk.Briefs(events)...)
	return nil
}

func (b *batchTaker) Resync(_ context.Context, e tracbus.Resync) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.resyncs = append(b.resyncs, e)
	return nil
}

// loadedBatches is loaded from tables instead.
type loadedBatches struct {
	batchTaker
	loads int
}

func (l *loadedBatches) Load(context.Context, *tracbus.Snapshot) error {
	l.loads++
	return nil
}

// TestListenerOfBatchesReloads asks for a reload in the place of a batch.
func TestListenerOfBatchesReloads(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	l := new(loadedBatches)
	asked := false
	l.handle = func() error {
		if !asked {
			asked = true
			return tracbus.ErrNeedsLoad
		}
		return nil
	}
	var r *tracbus.Registration
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Before: func(b *tracbus.Bus) { r = b.All(tracbus.Everywhere, l) }})
	require.NoError(t, r.Wait(testkit.Within(t))) // it is loaded
	require.NoError(t, d.Wait(testkit.Within(t), d.Say(t, "one", 1)))
	assert.Equal(t, 2, l.loads)
	require.NoError(t, d.Wait(testkit.Within(t), d.Say(t, "two", 1)))
	assert.Equal(t, []string{"two"}, l.told)
	st := r.Status()
	assert.Zero(t, st.Failed)
	assert.Zero(t, st.Retried)
	assert.NoError(t, st.LastError)
}

// TestListenerIsToldTheGraverReason fails a batch while the database is put back.
func TestListenerIsToldTheGraverReason(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	asleep, alarm := make(chan struct{}), make(chan struct{})
	calls := 0
	l := &batchTaker{handle: func() error {
		if calls++; calls > 1 {
			return nil
		}
		close(asleep)
		<-alarm
		return errors.New("no")
	}}
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{
		Bus:    tracbus.BusConfig{MaxRetries: -1},
		Before: func(b *tracbus.Bus) { b.All(tracbus.Everywhere, l) },
	})
	first := saying(t, d, 0, 0)
	<-asleep
	saying(t, d, 1, 3)
	last := forget(t, d, first[0])
	close(alarm)
	require.NoError(t, d.Wait(testkit.Within(t), last))
	require.Len(t, l.resyncs, 1)
	assert.Equal(t, tracbus.ResyncRewound, l.resyncs[0].Reason)
	assert.ErrorIs(t, l.resyncs[0].Err, tracbus.ErrRewound)
	assert.Equal(t, 1, l.resyncs[0].Missed)
	assert.Equal(t, []string{"new"}, l.told)
}

// TestSlowListenerIsClosed says what was never queued for it.
func TestSlowListenerIsClosed(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	d, slow, r := sleep(t, s, s.DSN(s.Name()), 4, tracbus.Primary)
	saying(t, d, 0, 0)
	<-slow.asleep
	tids := saying(t, d, 1, 9)
	ended, cancel := context.WithCancel(testkit.Within(t))
	cancel()
	err := r.Close(ended)
	var closing *tracbus.CloseError
	require.ErrorAs(t, err, &closing)
	require.Len(t, closing.Undelivered, 1)
	u := closing.Undelivered[0]
	assert.Equal(t, 5, u.Count)
	assert.Equal(t, tids[3], u.After, "the last that was queued")
	assert.True(t, strings.HasSuffix(err.Error(), fmt.Sprintf(", and what the journal has after tid %d", u.After)), "%v", err)
	close(slow.alarm)
	require.NoError(t, r.Close(testkit.Within(t)), "it was said once")
}

// TestSlowListenerIsClosedInTime tells what is queued, and says what was not.
func TestSlowListenerIsClosedInTime(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	d, slow, r := sleep(t, s, s.DSN(s.Name()), 4, tracbus.Primary)
	saying(t, d, 0, 0)
	<-slow.asleep
	tids := saying(t, d, 1, 9)
	d.Pause(t)
	close(slow.alarm)
	err := r.Close(testkit.Within(t))
	var closing *tracbus.CloseError
	require.ErrorAs(t, err, &closing)
	assert.Equal(t, []tracbus.Undelivered{{Listener: closing.Undelivered[0].Listener, After: tids[3]}}, closing.Undelivered)
	assert.Equal(t, numbers(0, 4), slow.heard())
}
