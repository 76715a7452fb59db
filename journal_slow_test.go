package tracbus_test

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
	"github.com/tracbus/tracbus/internal/testdatabase"
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
	s.told = append(s.told, brief(e))
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

// brief shows the comment of an event, or the reason of a Resync in brackets.
func brief(e tracbus.Event) string {
	if r, ok := e.(tracbus.Resync); ok {
		return fmt.Sprintf("(%s)", r.Reason)
	}
	return e.About().Comment
}

func briefs(events []tracbus.Event) (all []string) {
	for _, e := range events {
		all = append(all, brief(e))
	}
	return all
}

// sleep seats a desk with a sleeper that holds one event, while others wait.
func sleep(t *testing.T, s *testdatabase.Server, dsn string, queue int, scope tracbus.Scope) (*desk, *sleeper, *tracbus.Registration) {
	t.Helper()
	l := newSleeper()
	var r *tracbus.Registration
	d := seat(t, s, dsn, deskConfig{
		Bus:    tracbus.BusConfig{QueueSize: queue, BatchSize: 1},
		Before: func(b *tracbus.Bus) { r = tracbus.On(b, scope, l.hear) },
	})
	return d, l, r
}

// saying commits remarks one by one, and waits until the desk has heard them.
func (d *desk) saying(t *testing.T, from, to int) (tids []int64) {
	t.Helper()
	for i := from; i <= to; i++ {
		tids = append(tids, d.say(t, fmt.Sprint(i), 1))
	}
	d.hears(t, fmt.Sprint(to))
	return tids
}

func (d *desk) hears(t *testing.T, what string) {
	t.Helper()
	d.until(t, what, func(all, _ []tracbus.Event) bool { return slices.Contains(briefs(all), what) })
}

// forget takes the database back to a tid, and says something new when that is
// seen.
func (d *desk) forget(t *testing.T, tid int64) (last int64) {
	t.Helper()
	tx, err := d.DB.BeginTx(ticking(t), nil)
	require.NoError(t, err)
	for _, table := range []string{"ticket_history", "ticket_journal", "journal_transaction"} {
		_, err := tx.ExecContext(ticking(t), "DELETE FROM "+table+" WHERE tid > "+fmt.Sprint(tid))
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	d.hears(t, "(rewound)")
	until(t, "a commit behind it", func() bool {
		last, err = d.Update(ticking(t), joe, func(tx *tracbus.ModelTransaction) error { return tx.Record(ticking(t), remark(1, "new")) })
		return err == nil
	})
	d.hears(t, "new")
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
			first := d.saying(t, 0, 0)
			<-slow.asleep
			tids := append(first, d.saying(t, 1, 9)...)
			last := d.forget(t, tids[test.upTo])
			close(slow.alarm)
			require.NoError(t, d.Wait(ticking(t), last))
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
		d.saying(t, 0, 0)
		<-slow.asleep
		d.saying(t, 1, 3)
		d.cancel()
		require.NoError(t, <-d.ran)

		other := seat(t, s, dsn, deskConfig{})
		tids := other.saying(t, 4, 9)
		n, err := other.Prune(ticking(t), tracbus.Retention{KeepLast: 4})
		require.NoError(t, err)
		assert.EqualValues(t, 6, n)

		d.run()
		d.hears(t, "9")
		close(slow.alarm)
		require.NoError(t, d.Wait(ticking(t), tids[5]))
		want := slices.Concat(numbers(0, 3, "(pruned)"), numbers(6, 9))
		assert.Equal(t, want, slow.heard())
		all, _ := d.heard()
		assert.Equal(t, want, briefs(all))
	})
}

// TestSlowListenerPruned prunes what was to be read again for a listener.
func TestSlowListenerPruned(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	d, slow, _ := sleep(t, s, s.DSN(s.Name()), 4, tracbus.Primary)
	d.saying(t, 0, 0)
	<-slow.asleep
	tids := d.saying(t, 1, 9)
	_, err := d.Prune(ticking(t), tracbus.Retention{KeepLast: 4})
	require.NoError(t, err)
	close(slow.alarm)
	require.NoError(t, d.Wait(ticking(t), tids[8]))
	assert.Equal(t, slices.Concat(numbers(0, 4, "(pruned)"), numbers(6, 9)), slow.heard())
	all, _ := d.heard()
	assert.Equal(t, numbers(0, 9), briefs(all), "who has read it misses nothing")
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
	writer := seat(t, s, dsn, deskConfig{Idle: true})
	var read []string // by the follower, which alone uses it until it is told of all
	alarm, asleep := make(chan struct{}), make(chan struct{})
	var pages []string
	d := seat(t, s, dsn, deskConfig{
		Bus: tracbus.BusConfig{QueueSize: 2, BatchSize: 1},
		Journal: tracbus.JournalConfig{BatchSize: 1, Realms: []tracbus.JournalRealm{tracbus.Pages{}, overheard{read: func(comment string) {
			if comment == "0" && slices.Contains(read, "0") {
				writer.say(t, "new", 1)
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
	want := name("page", 0, 5)
	for i, page := range want {
		_, err := d.Update(ticking(t), joe, func(tx *tracbus.ModelTransaction) error { return tx.Record(ticking(t), page1(page)) })
		require.NoError(t, err)
		if i == 0 {
			<-asleep
		}
		// One by one, for none but the one listener may lag.
		d.until(t, page, func(all, primary []tracbus.Event) bool { return len(all) == i+1 && len(primary) == i+1 })
	}
	for i := range 30 {
		d.say(t, fmt.Sprint(i), 1)
		n := len(want) + i + 1
		d.until(t, fmt.Sprint(i), func(all, primary []tracbus.Event) bool { return len(all) == n && len(primary) == n })
	}
	close(alarm)
	d.hears(t, "new")
	last := d.say(t, "last", 1)
	require.NoError(t, d.Wait(ticking(t), last))
	assert.Equal(t, want, pages)
	require.NoError(t, d.Journal.Close(ticking(t))) // so that read stays as it is
	again := slices.Index(read[1:], "0") + 1
	assert.LessOrEqual(t, slices.Index(read, "new")-again, 2, "read were %v", read)
}

// TestHeldCounterIsLogged holds MySQL's counter until the log tells of it, which
// no other transaction shows: none gets as far as to take a place.
func TestHeldCounterIsLogged(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	dsn := s.DSN(s.Name())
	log := newNotes()
	a, b := seat(t, s, dsn, deskConfig{Idle: true}), seat(t, s, dsn, deskConfig{Journal: tracbus.JournalConfig{Logger: log.logger()}})
	b.say(t, "before", 1)
	q, commit, _ := begin(t, a, s.Dialect)
	joined(t, a, q, "held")
	log.until(t, "changes are held back by a transaction that does not end")
	log.until(t, `who="connection `)
	commit()
	b.hears(t, "held")
	log.until(t, "changes are not held back any more")
	assert.Equal(t, 1, log.count("does not end"))
}

// TestHeldByGapIsLogged has a tid that is not there, which nobody is to blame for.
func TestHeldByGapIsLogged(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	dsn := s.DSN(s.Name())
	log := newNotes()
	a := seat(t, s, dsn, deskConfig{})
	tids := a.saying(t, 1, 3)
	hide := func(from, to int64) {
		t.Helper()
		_, err := a.DB.ExecContext(ticking(t), "UPDATE journal_transaction SET tid = ? WHERE tid = ?", to, from)
		require.NoError(t, err)
	}
	hide(tids[1], tids[1]+1000)
	b := seat(t, s, dsn, deskConfig{Journal: tracbus.JournalConfig{Logger: log.logger()}})
	log.until(t, "changes are held back by a transaction that does not end")
	log.until(t, `who=unknown`)
	hide(tids[1]+1000, tids[1])
	b.hears(t, "3")
	log.until(t, "changes are not held back any more")
	assert.Equal(t, 1, log.count("does not end"))
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
	b.told = append(b.told, briefs(events)...)
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
	d := seat(t, s, s.DSN(s.Name()), deskConfig{Before: func(b *tracbus.Bus) { r = b.All(tracbus.Everywhere, l) }})
	require.NoError(t, r.Wait(ticking(t))) // it is loaded
	require.NoError(t, d.Wait(ticking(t), d.say(t, "one", 1)))
	assert.Equal(t, 2, l.loads)
	require.NoError(t, d.Wait(ticking(t), d.say(t, "two", 1)))
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
	d := seat(t, s, s.DSN(s.Name()), deskConfig{
		Bus:    tracbus.BusConfig{MaxRetries: -1},
		Before: func(b *tracbus.Bus) { b.All(tracbus.Everywhere, l) },
	})
	first := d.saying(t, 0, 0)
	<-asleep
	d.saying(t, 1, 3)
	last := d.forget(t, first[0])
	close(alarm)
	require.NoError(t, d.Wait(ticking(t), last))
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
	d.saying(t, 0, 0)
	<-slow.asleep
	tids := d.saying(t, 1, 9)
	ended, cancel := context.WithCancel(ticking(t))
	cancel()
	err := r.Close(ended)
	var closing *tracbus.CloseError
	require.ErrorAs(t, err, &closing)
	require.Len(t, closing.Undelivered, 1)
	u := closing.Undelivered[0]
	assert.Equal(t, 5, u.Count)
	assert.Equal(t, tids[3], u.After, "the last that was queued")
	assert.True(t, strings.HasSuffix(err.Error(), fmt.Sprintf(", and what the journal has behind tid %d", u.After)), "%v", err)
	close(slow.alarm)
	require.NoError(t, r.Close(ticking(t)), "it was said once")
}

// TestSlowListenerIsClosedInTime tells what is queued, and says what was not.
func TestSlowListenerIsClosedInTime(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	d, slow, r := sleep(t, s, s.DSN(s.Name()), 4, tracbus.Primary)
	d.saying(t, 0, 0)
	<-slow.asleep
	tids := d.saying(t, 1, 9)
	d.cancel()
	require.NoError(t, <-d.ran)
	close(slow.alarm)
	err := r.Close(ticking(t))
	var closing *tracbus.CloseError
	require.ErrorAs(t, err, &closing)
	assert.Equal(t, []tracbus.Undelivered{{Listener: closing.Undelivered[0].Listener, After: tids[3]}}, closing.Undelivered)
	assert.Equal(t, numbers(0, 4), slow.heard())
	d.cancel = nil
}
