package tracbus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/tracbus/tracbus/internal/capture"
	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/internal/value"
)

// Capture has a journal take in what others write to the tables of its realms, in transactions of
// their own: triggers take it down, in the same transactions. trac.Capture is one, for Trac's
// tables, and there is no other.
//
// One of the processes that run the journal makes changes of that, in the order of the
// commits of each resource, and each exactly once. So does a transaction, before its own
// changes, with what waits for a resource that it locks, saves, deletes or records. Such a
// change is secondary in every process: no listener with the scope [Primary] is called, because
// the side effects of it are those of whoever made it; listeners with the scopes [Everywhere]
// and [Durable] are called as for any other. Its Absent has [AttrAddress], and also
// [AttrActor] if nothing that was written says who made it; its Time is then that of the statement.
//
// In a transaction that was joined, what is written before the first Lock, Save, Delete or Record
// counts as written by others.
type Capture interface {
	// Captured says which tables are captured.
	Captured() capture.Spec
	// Events calls yield with the event that some rows of the inbox say, and their numbers: with
	// nil if they say nothing. The tables are as tx sees them; if late is true, that is as they
	// were when it began, and to see them as they are takes a SELECT FOR UPDATE.
	Events(ctx context.Context, tx *ModelTransaction, rows []capture.Row, late bool, yield func(e Event, rows []int64) error) error
}

// CaptureStatus is what a [Capture] does.
type CaptureStatus struct {
	// Captured are the tables all of whose changes are captured. Wrong says what is missing,
	// disabled or stale, as after trac-admin upgrade: what others write there reaches nobody.
	Captured, Wrong []string

	// Waiting is how many rows of the inbox are not in the journal yet.
	Waiting int64

	// Err is why what waits cannot be taken in by this process, and ErrSince since when. Both are
	// zero if it can, or if another process does it.
	Err      error
	ErrSince time.Time
}

// foreignOrigin is the origin of changes that no process of the journal made.
const foreignOrigin = "capture"

// newInbox finds what captures, and makes it if that is wanted. A journal without Capture is
// refused where others have it: it would put its own changes before those that wait.
func (j *Journal) newInbox(ctx context.Context) (err error) {
	defer j.store.Within(j.store.Limits().Lock, &ctx, &err)()
	if j.config.Capture == nil {
		there, err := capture.Exists(ctx, j.db, string(j.dialect), j.store.Schema())
		if err != nil || !there {
			return err
		}
		for _, r := range []Realm{RealmTicket, RealmWiki} {
			if j.realm(r) != nil {
				return fmt.Errorf("%w: the tables of the realm %q are captured: expected JournalConfig.Capture", ErrSchema, r)
			}
		}
		return nil
	}
	spec := j.config.Capture.Captured()
	channel := "tracbus:" + j.store.UUID() + ":inbox"
	j.inbox = capture.Of(spec, string(j.dialect), j.store.Schema(), j.realmNames(), channel)
	if spec.Install {
		if err := j.inbox.Install(ctx, j.db); err != nil {
			return fmt.Errorf("install what captures: %w", err)
		}
	}
	found, err := j.inbox.Look(ctx, j.db)
	if err != nil {
		return fmt.Errorf("look for what captures: %w", err)
	}
	if !found.Inbox {
		return fmt.Errorf("%w: the table journal_inbox is missing: expected that what captures was installed", ErrSchema)
	}
	poll := j.config.PollInterval
	if !j.store.OneWriter() {
		poll /= 4 // one process asks, and nothing wakes it; others are woken by what it commits
	}
	config := capture.ImporterConfig{
		Inbox: j.inbox, DB: j.db, Holder: j.origin, Poll: poll, Many: j.store.OneWriter(), Take: j.takeIn, Logger: j.config.Logger,
	}
	w := j.config.Waker
	if _, redis := w.(*RedisWaker); w != nil && !redis && j.dialect == PostgreSQL { // what others have installed may notify
		config.Hear = func(ctx context.Context) iter.Seq2[string, error] { return w.Hear(ctx, channel) }
	}
	j.importer = capture.NewImporter(config, found)
	return nil
}

// takeIn is a transaction that takes in what waits for some resources, and no more.
func (j *Journal) takeIn(ctx context.Context, some []capture.Resource) error {
	resources := make([]Resource, len(some))
	for i, r := range some {
		resources[i] = Resource{Realm(r.Realm), r.ID}
	}
	_, err := j.Update(ctx, Actor{}, func(tx *ModelTransaction) error {
		tx.imports = true
		return tx.Lock(ctx, resources...)
	})
	if errors.Is(err, ErrJournalClosed) { // Run is about to be ended
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (j *Journal) captureStatus(ctx context.Context) (s CaptureStatus, err error) {
	if j.inbox == nil {
		return s, nil
	}
	found, err := j.inbox.Look(ctx, j.db)
	s.Captured, s.Wrong, s.Waiting = found.Captured, found.Wrong, found.Waiting
	s.ErrSince, s.Err = j.importer.Failing()
	return s, err
}

// captured says whether others may have written a resource.
func (tx *ModelTransaction) captured(r Resource) bool {
	return tx.journal.inbox != nil && tx.journal.inbox.Has(string(r.Realm))
}

// own says that what a joined transaction writes from now on is not to be captured, and disown
// ends that.
func (tx *ModelTransaction) own(ctx context.Context) error {
	if tx.journal.inbox == nil {
		return nil
	}
	return tx.journal.inbox.Own(ctx, tx.q, tx.commitID)
}

func (tx *ModelTransaction) disown(ctx context.Context) error {
	if tx.journal.inbox == nil || !tx.touched {
		return nil
	}
	return tx.journal.inbox.Disown(ctx, tx.q, tx.commitID)
}

// takeIn takes in what waits for resources, which are locked, each once: their changes come before
// those of the transaction. Its row is locked too, so that nobody writes it any more, unless the
// transaction has nothing to write: it would make others wait, perhaps for each other.
func (tx *ModelTransaction) takeIn(ctx context.Context, resources []Resource) error {
	for _, r := range resources {
		if r.ID == "" && !tx.imports || !tx.captured(r) || tx.hasTakenIn(r) {
			continue
		}
		in := capture.Resource{Realm: string(r.Realm), ID: r.ID}
		if !tx.imports {
			if err := tx.journal.inbox.Hold(ctx, tx.q, in); err != nil {
				return fmt.Errorf("lock the row of %s: %w", r, err)
			}
		}
		if err := tx.takeInOne(ctx, in); err != nil {
			return fmt.Errorf("take in what others wrote to %s: %w", r, err)
		}
	}
	return nil
}

func (tx *ModelTransaction) hasTakenIn(r Resource) bool {
	_, has := tx.tookIn[r]
	return has
}

// takenIn is a change that others made, and the mark after which it was taken in.
type takenIn struct {
	entry entry.Entry
	mark  int
}

// unsteady is how often the tables are read again because somebody wrote meanwhile.
const unsteady = 20

func (tx *ModelTransaction) takeInOne(ctx context.Context, r capture.Resource) error {
	in := tx.journal.inbox
	lock := func(other capture.Resource) error {
		return tx.journal.store.Lock(ctx, tx.q, [2]string{other.Realm, other.ID})
	}
	var latest *sql.DB
	if tx.joined { // it may show the tables as they were when it began
		latest = tx.journal.db
	}
	rows, err := in.Read(ctx, tx.q, r, latest, lock)
	for try := 0; err == nil && len(rows) > 0; try++ {
		var taken []entry.Entry
		var numbers []int64
		err = tx.journal.config.Capture.Events(ctx, tx, rows, tx.joined && tx.journal.dialect == MySQL, func(e Event, some []int64) error {
			numbers = append(numbers, some...)
			if e != nil {
				taken = append(taken, tx.foreignEntry(e))
			}
			return nil
		})
		if err != nil {
			return err
		}
		// The rows and the tables are of one moment if no row has come since.
		later, err := in.Read(ctx, tx.q, r, latest, lock)
		if err != nil {
			return err
		}
		if capture.Same(rows, later) {
			if err := in.Take(ctx, tx.q, rows, numbers); err != nil {
				return err
			}
			for _, e := range taken {
				tx.taken = append(tx.taken, takenIn{e, tx.mark})
			}
			tx.tellFate()
			break
		}
		if rows = later; try == unsteady {
			return fmt.Errorf("%w: others write it all the time", ErrConflict)
		}
	}
	if err != nil {
		return err
	}
	if tx.tookIn == nil {
		tx.tookIn = map[Resource]int{}
	}
	tx.tookIn[Resource{Realm(r.Realm), r.ID}] = tx.mark
	return nil
}

// foreignEntry returns the entry of what others did. If the journal cannot keep that, as a page with
// a name that is none, it keeps an entry that no realm can read: so every listener hears that a
// change was missed.
func (tx *ModelTransaction) foreignEntry(e Event) entry.Entry {
	made, err := tx.entryOf(e, false)
	if err == nil {
		return made
	}
	id := value.Text(e.Resource().ID)
	const most = 900 // bytes
	if len(id) > most {
		id = value.Text(id[:most])
	}
	text := value.Text(fmt.Sprintf("what others wrote cannot be kept: %v", err))
	tx.journal.config.Logger.Error("a change that others wrote cannot be kept: listeners get a Resync", "resource", fmt.Sprintf("%.100q", e.Resource()), "err", err)
	return entry.Entry{Resource: entry.Resource{Realm: string(e.Resource().Realm), ID: id}, Kind: "unreadable", Time: tx.time, Comment: text}
}

// tookAll refuses a change of a resource that others have written meanwhile without locking its
// row, as they do a new version of a page: their change would come after it. Of a new resource, it
// takes in what waits of an older one with the same id.
func (tx *ModelTransaction) tookAll(ctx context.Context, r Resource, e Event) error {
	if e == nil || !tx.captured(e.Resource()) {
		return nil
	}
	if err := tx.takeIn(ctx, []Resource{e.Resource()}); err != nil || tx.journal.inbox.Locks(string(r.Realm)) {
		return err
	}
	r = e.Resource()
	waits, err := tx.journal.inbox.Any(ctx, tx.q, capture.Resource{Realm: string(r.Realm), ID: r.ID})
	if err == nil && waits {
		err = fmt.Errorf("%w: others wrote it", ErrConflict)
	}
	return err
}
