package tracbus

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/internal/value"
)

// Told is what a transaction is told of a resource, to be recorded: an [Event] says what happened
// to it, a [State] what it is now.
type Told interface {
	Resource() Resource
	About() Change
}

// State is a resource as it is after a change, from a caller who does not know what it was
// before, such as one with an ORM. [ModelTransaction.Record] and [Journal.CommitWith] find out
// what is different from the state that the journal knew last of the resource, which they lock
// first. If nothing is, and there is no comment, nothing is stored or delivered. A resource that was
// deleted is created again. Of a change whose old values the journal does not know, all fields may
// have changed: Absent has [AttrOld].
//
// The realm is of [Resources] or [Tickets]. The state last known is that of the journal: who
// writes the resource without it, or records only a part of what it changed, is found out by the
// next State. In a joined transaction on PostgreSQL, the isolation level must be READ
// COMMITTED: with another one the transaction may not see what was committed last.
type State struct {
	Of     Resource
	Values Fields // all that it has
	Change Change // Comment, and Env and Time if they are not the usual ones

	// Deleted says that the resource is gone. Values are then what it was at the end; nil means
	// as it was last known.
	Deleted bool

	// Unseen says what is told of a resource that the journal knows nothing of: KindCreated, or
	// KindChanged if it is older than the journal. Zero means KindCreated, and KindChanged once
	// changes were pruned, because the resource's may have been among them.
	Unseen Kind
}

// Resource returns Of.
func (s State) Resource() Resource { return s.Of }

// About returns Change.
func (s State) About() Change { return s.Change }

func isState(t Told) bool {
	_, is := t.(State)
	return is
}

// toldEvent returns what was told as an event, which is a value.
func toldEvent(t Told) (Event, error) {
	e, is := t.(Event)
	if !is && t != nil {
		return nil, fmt.Errorf("expected an event or a State, got %T", t)
	}
	return e, checkType(e)
}

// recordState records what is different.
func (tx *ModelTransaction) recordState(ctx context.Context, s State) error {
	return tx.call(ctx, "record the state of "+s.Of.String(), func() error {
		realm, ok := tx.journal.realm(s.Of.Realm).(stateRealm)
		if !ok {
			return fmt.Errorf("realm %q: expected one of Resources or Tickets, which the journal was opened with", s.Of.Realm)
		}
		if s.Unseen != "" && s.Unseen != KindCreated && s.Unseen != KindChanged {
			return fmt.Errorf("unseen %q: expected %q or %q", s.Unseen, KindCreated, KindChanged)
		}
		values, err := realm.checkState(s.Of, s.Values)
		if err != nil {
			return err
		}
		if err := tx.lock(ctx, s.Of); err != nil {
			return err
		}
		was, err := tx.lastKnown(ctx, s.Of)
		if err == nil && !was.seen && s.Unseen == "" {
			s.Unseen, err = tx.unseen(ctx)
		}
		if err != nil {
			return fmt.Errorf("its last state: %w", err)
		}
		s.Values = values
		d := was.difference(s)
		if d.kind == "" {
			return nil
		}
		s.Change.Absent |= d.absent
		e, err := realm.stateEvent(s.Of, d, s.Change)
		if err != nil {
			return err
		}
		return tx.report(e)
	})
}

// stateRealm is a realm of which a resource is no more than its fields.
type stateRealm interface {
	checkState(r Resource, values Fields) (normalized Fields, err error)
	stateEvent(r Resource, d difference, c Change) (Event, error)
}

// difference is what has to be told of a resource.
type difference struct {
	kind               Kind // "": nothing
	values, fresh, old Fields
	absent             Attrs
}

// lastKnown is what a journal, and a transaction so far, know of a resource.
type lastKnown struct {
	seen, gone bool
	complete   bool // values are all that there are
	values     Fields
	removed    map[string]bool // fields that it does not have, if not complete
}

// add takes the entry before those that were added. It reports whether there is more to know.
func (k *lastKnown) add(e Entry) (more bool) {
	switch {
	case e.Kind == KindDeleted && !k.seen:
		k.seen, k.gone, k.complete = true, true, true
		k.values = e.stateValues()
		return false
	case e.Kind == KindDeleted:
		k.complete = true
		return false
	case e.Kind != KindCreated && e.Kind != KindChanged:
		return true // of a comment, or of an older change
	}
	k.seen = true
	values := e.stateValues()
	k.complete = values != nil
	if values == nil {
		values = e.New
		for name := range e.Old {
			if _, stays := e.New[name]; !stays {
				k.removed[name] = true
			}
		}
	}
	for name, v := range values {
		if _, later := k.values[name]; !later && !k.removed[name] {
			k.values[name] = v
		}
	}
	return !k.complete
}

// difference returns what has to be told.
func (k *lastKnown) difference(s State) difference {
	switch {
	case s.Deleted && k.gone:
		return difference{}
	case s.Deleted && s.Values == nil && k.complete:
		return difference{kind: KindDeleted, values: k.values}
	case s.Deleted:
		return difference{kind: KindDeleted, values: s.Values}
	case k.gone, !k.seen && s.Unseen == KindCreated:
		return difference{kind: KindCreated, values: orEmpty(s.Values)}
	}
	d := difference{kind: KindChanged, values: orEmpty(s.Values)}
	d.fresh, d.old = Diff(k.values, s.Values)
	if !k.complete {
		for name := range d.fresh {
			if _, known := k.values[name]; !known && !k.removed[name] {
				d.old[name], d.absent = nil, AttrOld
			}
		}
	}
	if len(d.fresh)+len(d.old) == 0 && s.Change.Comment == "" {
		return difference{}
	}
	return d
}

func orEmpty(f Fields) Fields {
	if f == nil {
		return Fields{}
	}
	return f
}

// lastKnown reads what is known of a resource, which is locked: what the transaction is going to
// report, what it took in of others, and what the journal has.
func (tx *ModelTransaction) lastKnown(ctx context.Context, r Resource) (k lastKnown, err error) {
	k.values, k.removed = Fields{}, map[string]bool{}
	before := tx.pending.Back(plainResource(r))
	for _, t := range slices.Backward(tx.taken) {
		if t.entry.Resource == plainResource(r) {
			before = append(before, t.entry)
		}
	}
	for _, e := range before {
		if !k.add(madeOf(e)) {
			return k, nil
		}
	}
	if err := tx.sees(ctx); err != nil {
		return k, err
	}
	for most := 1; ; most *= 16 {
		rows, err := tx.latest(ctx, r, most)
		if err != nil {
			return k, err
		}
		for i, row := range rows {
			e, err := entryOf(row)
			if err != nil { // damaged: what is older may be wrong by now
				k.seen = true
				return k, nil
			}
			if i >= most/16 && !k.add(e) { // what was not read before
				return k, nil
			}
		}
		if len(rows) < most || most >= 4096 {
			return k, nil
		}
	}
}

// latest returns the last changes of a resource. A joined transaction of MySQL may show them as they
// were when it began, and to have it lock what is there now would lock what is between rows: so
// they are read elsewhere too, if the pool has a connection for that at once.
func (tx *ModelTransaction) latest(ctx context.Context, r Resource, most int) ([]store.Change, error) {
	stale := tx.joined && tx.journal.dialect == MySQL
	pool := tx.journal.db.Stats()
	full := pool.MaxOpenConnections > 0 && pool.InUse >= pool.MaxOpenConnections
	rows, err := tx.journal.store.Latest(ctx, tx.q, string(r.Realm), r.ID, most, stale && full)
	if err != nil || !stale || full {
		return rows, err
	}
	others, err := tx.journal.store.Latest(ctx, tx.journal.db, string(r.Realm), r.ID, most, false)
	if err == nil && len(others) > 0 && (len(rows) == 0 || others[0].TID > rows[0].TID) {
		rows = others
	}
	return rows, err
}

// sees returns an error if the transaction may not see what others have committed.
func (tx *ModelTransaction) sees(ctx context.Context) error {
	if !tx.joined || tx.journal.dialect != PostgreSQL {
		return nil
	}
	var level string
	if err := limit.QueryRow(ctx, tx.q, "SELECT current_setting('transaction_isolation')").Scan(&level); err != nil {
		return err
	}
	if level != "read committed" && level != "read uncommitted" { // which is the same there
		return fmt.Errorf("the transaction's isolation level is %q, with which it may not see what was committed last: expected %q", level, "read committed")
	}
	return nil
}

// unseen returns the kind that is told of a resource that was not seen.
func (tx *ModelTransaction) unseen(ctx context.Context) (Kind, error) {
	floor, err := tx.journal.store.PrunedTo(ctx, tx.q)
	if err == nil && floor > 0 {
		return KindChanged, nil
	}
	return KindCreated, err
}

// checkState implements stateRealm.
func (Tickets) checkState(r Resource, values Fields) (Fields, error) {
	id, err := strconv.ParseInt(r.ID, 10, 64)
	if err != nil || TicketResource(id) != r {
		return nil, fmt.Errorf("ticket %.100q: expected a number from 1", r.ID)
	}
	return normalizedTicket(id, values)
}

// checkState implements stateRealm.
func (Resources) checkState(r Resource, values Fields) (Fields, error) {
	return normalizedResource(r, values)
}

// stateEvent implements stateRealm.
func (Tickets) stateEvent(r Resource, d difference, c Change) (Event, error) {
	id, err := strconv.ParseInt(r.ID, 10, 64)
	if err != nil {
		return nil, err
	}
	switch d.kind {
	case KindCreated:
		return TicketCreated{c, id, d.values}, nil
	case KindDeleted:
		return TicketDeleted{c, id, d.values}, nil
	}
	for name := range d.old {
		if _, stays := d.fresh[name]; !stays {
			d.fresh[name] = "" // as the plugin sends what a ticket does not have any more
		}
	}
	return TicketChanged{c, id, d.values, d.fresh, d.old}, nil
}

// stateEvent implements stateRealm.
func (Resources) stateEvent(r Resource, d difference, c Change) (Event, error) {
	switch d.kind {
	case KindCreated:
		return ResourceCreated{c, r, d.values}, nil
	case KindDeleted:
		return ResourceDeleted{c, r, d.values}, nil
	}
	return ResourceChanged{c, r, d.values, d.fresh, d.old}, nil
}

// Diff returns the fields that changed between two states, each with all that a resource has:
// those of after, and those of before. A field that only one of them has was added or removed.
// They are what the New and Old of a [TicketChanged] or [ResourceChanged] say.
func Diff(before, after Fields) (fresh, old Fields) {
	fresh, old = Fields{}, Fields{}
	for name, v := range after {
		was, had := before[name]
		if had && equalValues(was, v) {
			continue
		}
		fresh[name] = v
		if had {
			old[name] = was
		}
	}
	for name, was := range before {
		if _, has := after[name]; !has {
			old[name] = was
		}
	}
	return fresh, old
}

// equalValues says whether two values are the same to those who get them.
func equalValues(a, b any) bool {
	f, err := Fields{"a": a, "b": b}.normalized()
	return err == nil && value.Equal(f["a"], f["b"])
}
