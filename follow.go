package tracbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/follow"
	"github.com/tracbus/tracbus/internal/store"
)

// Run follows the journal and delivers to the bus what was committed since
// [OpenJournal], in one order, until ctx ends or [Journal.Close] is called; then
// it returns nil. One call at a time. While the database is away, it waits and
// tries again. Then it goes on exactly where it stopped. With [JournalConfig.WriteOnly] it
// returns an error at once.
func (j *Journal) Run(ctx context.Context) error {
	if j.config.WriteOnly {
		return fmt.Errorf("run: %w", errWriteOnly)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	j.mu.Lock()
	if j.closed || j.running != nil {
		defer j.mu.Unlock()
		if j.closed {
			return nil
		}
		return errors.New("run: it runs already")
	}
	running := make(chan struct{})
	j.running, j.stop = running, cancel
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.running = nil
		close(running)
	}()

	var consumers sync.WaitGroup
	defer consumers.Wait()
	defer cancel()
	consumers.Go(func() { j.runConsumers(ctx) })
	if j.importer != nil {
		consumers.Go(func() { j.importer.Run(ctx) })
	}
	var held heldBackWatch
	j.follower.Run(ctx, func(ctx context.Context) { held.watch(ctx, j) })
	return nil
}

// errWriteOnly is what is returned for what needs a journal that delivers.
var errWriteOnly = errors.New("the journal is WriteOnly: it delivers nothing in this process")

// Wait returns when all changes up to a tid were delivered to every listener of
// this process, whether it could handle them or not; or when ctx ends; or with an error
// if Run has not been able to read the journal for a minute. The tid is one of the
// database as it is now: if its history went back and this process has not noticed that
// yet, Wait waits until it has, and has delivered what has the tid now. To know it, Wait
// asks the database, unless Run has read it since. It also waits
// for changes that transactions of other processes hold back. It does not wait for
// listeners with the scope [Durable]: see [Registration.Wait]. A listener that calls
// it waits for itself.
func (j *Journal) Wait(ctx context.Context, tid int64) error {
	if j.config.WriteOnly {
		return fmt.Errorf("wait for tid %d: %w", tid, errWriteOnly)
	}
	if err := j.follower.Reach(ctx, tid); err != nil {
		return fmt.Errorf("wait for tid %d: %w", tid, err)
	}
	for _, q := range j.bus.allQueues() {
		if err := q.Wait(ctx, tid); err != nil {
			return fmt.Errorf("wait for tid %d to be delivered: %w", tid, err)
		}
	}
	return nil
}

// Close refuses new transactions, waits for open ones, and ends Run. It delivers to
// the bus what this process committed and Run has not delivered, even if Run had
// ended before; with [JournalConfig.WriteOnly] it wakes the others, and delivers nothing. It
// returns by the deadline of ctx, and then says what was not done.
// The bus and the database stay open: close the bus next, and then the database.
func (j *Journal) Close(ctx context.Context) error {
	j.mu.Lock()
	if !j.closed {
		j.closed = true
		if j.opened == 0 {
			close(j.idle)
		}
	}
	running, stop := j.running, j.stop
	j.mu.Unlock()

	select {
	case <-j.idle:
	case <-ctx.Done():
		if running != nil {
			stop()
		}
		return fmt.Errorf("close journal: transactions are open: %w", ctx.Err())
	}
	j.store.Close()
	if running != nil {
		stop()
		select {
		case <-running:
		case <-ctx.Done():
			return fmt.Errorf("close journal: Run has not returned: %w", ctx.Err())
		}
	}
	if err := j.follower.Finish(ctx); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// journalSink is the bus as the follower of a journal feeds it: rows become
// events here, once for all listeners. A queue that is full loses nothing,
// because the journal is read again for that queue when there is room.
type journalSink struct{ journal *Journal }

// Reading counts what made durable consumers forget what was read before.
func (s journalSink) Reading() int { return s.journal.keeper.Reading() }

// Feed offers the journal's next transactions to the durable consumers, and queues their
// events for every other listener. If there is none, no event is made: whoever
// registers later gets what comes after a place.
func (s journalSink) Feed(from store.Place, batch store.Batch, reading int) {
	s.journal.keeper.Offer(from, batch, reading)
	b := s.journal.bus
	b.mu.Lock()
	none := len(b.queues) == 0
	if none {
		b.fed = batch.Places[len(batch.Places)-1]
	}
	b.mu.Unlock()
	if none {
		s.journal.unread.Forget()
		return
	}
	items, places := s.journal.unread.Take(s.journal.items(batch.Changes), shownPlaces(batch.Places), batch.More)
	if len(places) == 0 {
		return // the follower comes back with the rest of them
	}
	for i, item := range items {
		if item.Unread && (i == 0 || !items[i-1].Unread) {
			e := item.Event.(Resync)
			s.journal.config.Logger.Error("changes of the journal cannot be read: listeners get a Resync", "changes", e.Missed, "err", e.Err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fed = store.Place(places[len(places)-1])
	for _, q := range b.queues {
		q.Feed(items, places)
	}
}

// Rewound makes every listener go on after an earlier place, after a Resync.
func (s journalSink) Rewound(to store.Place, err error) {
	s.journal.unread.Forget()
	s.journal.keeper.Forget()
	b := s.journal.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fed = to
	for _, q := range b.queues {
		q.Rewind(to.TID, err)
	}
	for _, d := range b.durables {
		d.memory.Rewound(to, err)
	}
}

// Pruned makes every listener go on after a later place, up to which all is pruned.
func (s journalSink) Pruned(to store.Place, err error) {
	s.journal.unread.Forget()
	b := s.journal.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fed = to
	for _, q := range b.queues {
		q.Skip(to.TID, to.TID, err)
	}
}

// Ahead yields what loaded listeners have from a snapshot and the journal has not fed yet.
func (s journalSink) Ahead(yield func(last store.Place, gone func()) bool) {
	for _, q := range s.journal.bus.allQueues() {
		if last, ok := q.Ahead(); ok && !yield(store.Place(last), func() { q.Gone(last) }) {
			return
		}
	}
}

// Nudge has the durable consumers look whether leases are free.
func (s journalSink) Nudge() { s.journal.keeper.Kick() }

// HasRead says whether all up to a tid is queued for every listener.
func (s journalSink) HasRead(tid int64) bool {
	for _, q := range s.journal.bus.allQueues() {
		if !q.HasRead(tid) {
			return false
		}
	}
	return true
}

// Behind yields the queues that are behind, and have room.
func (s journalSink) Behind(yield func(after int64, l follow.Laggard) bool) {
	fed := s.journal.bus.fedTo()
	for _, q := range s.journal.bus.allQueues() {
		if after, ok := q.Behind(fed); ok && !yield(after, laggard{s.journal, q, fed}) {
			return
		}
	}
}

// Room holds a token when a queue that is behind has room again.
func (s journalSink) Room() <-chan struct{} { return s.journal.bus.room }

// laggard is a queue that is behind the others, which are at fed.
type laggard struct {
	journal *Journal
	queue   *delivery.Queue[Event]
	fed     int64
}

func (l laggard) Name() string { return l.queue.Name() }

func (l laggard) Refill(changes []store.Change, upTo int64) {
	l.queue.Refill(l.journal.unread.Collapse(l.journal.items(changes)), upTo, l.fed)
}

func (l laggard) Skip(floor int64, err error) { l.queue.Skip(floor, l.fed, err) }

func (l laggard) HasRoom() bool {
	_, ok := l.queue.Behind(l.fed)
	return ok
}

// items returns the events of rows. A row that cannot be read is a change missed.
func (j *Journal) items(rows []store.Change) []delivery.Item[Event] {
	items := make([]delivery.Item[Event], 0, len(rows))
	for _, row := range rows {
		e, err := j.eventOf(row)
		if err != nil {
			missed := j.bus.resync(delivery.NewGap(delivery.Reason(ResyncEntryUnreadable), err))
			missed.TID, missed.Seq, missed.Missed = row.TID, row.Seq, 1
			missed.Primary = row.Origin == j.origin
			e = missed
		}
		c := e.About()
		items = append(items, delivery.Item[Event]{TID: c.TID, Primary: c.Primary, Unread: err != nil, Event: e})
	}
	return items
}

// joinUnread returns the Resync for two runs of changes that cannot be read: it is at
// the last, and has the error of the first.
func joinUnread(a, b Event) Event {
	first, last := a.(Resync), b.(Resync)
	last.Missed, last.Err = first.Missed+last.Missed, first.Err
	return last
}

// eventOf returns the event of a row, as it is in this process.
func (j *Journal) eventOf(row store.Change) (Event, error) {
	entry, err := entryOf(row)
	if err == nil {
		entry.Change.Env, entry.Change.Primary = cmp.Or(row.Env, j.bus.env), row.Origin == j.origin
		var e Event
		if e, err = eventOf(j.realm(Realm(row.Realm)), entry); err == nil {
			return e, nil
		}
	}
	return nil, fmt.Errorf("tid %d, seq %d, %s %q: %w", row.TID, row.Seq, row.Realm, row.ID, err)
}

// eventOf asks a realm for an event. A panic becomes an error, because it would
// end every process that follows the journal.
func eventOf(r JournalRealm, entry Entry) (e Event, err error) {
	defer func() {
		if p := recover(); p != nil {
			e, err = nil, &delivery.PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	if e, err = r.Event(entry); e == nil && err == nil {
		err = errors.New("the realm returned nil")
	}
	return e, err
}
