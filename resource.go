package tracbus

import (
	"context"
	"errors"
	"fmt"

	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/internal/value"
	"github.com/tracbus/tracbus/internal/wire"
)

// Resources is a [JournalRealm] of plain resources: those of which there is no more to say than
// their fields. Its name is all that a tracker needs to have tasks, say, beside its tickets:
//
//	tracbus.JournalConfig{Realms: []tracbus.JournalRealm{tracbus.Tickets{}, tracbus.Pages{}, tracbus.Resources("task")}}
//
// The events are [ResourceCreated], [ResourceChanged] and [ResourceDeleted]. A publisher sends
// them to the channels <prefix>.<env>.task.created, .changed.<id> and .deleted, and [Decode] reads
// them. The names of tickets and pages are not for it.
type Resources Realm

// Realm returns the name.
func (r Resources) Realm() Realm { return Realm(r) }

// Of returns the resource with an id, which is any text of 1 to 1000 bytes.
func (r Resources) Of(id string) Resource { return Resource{Realm(r), id} }

// ResourceCreated says that a plain resource was created.
type ResourceCreated struct {
	Change
	Of     Resource
	Values Fields // all of them; nil if they are not known
}

// ResourceChanged says that a plain resource was changed. Recorded with Values and Old, New is
// filled in; see [Diff], and [State] if the old values are not at hand.
type ResourceChanged struct {
	Change
	Of     Resource
	Values Fields // after the change, all of them; nil if only what changed is known

	// New and Old are the fields that changed, after and before. A field that only one of them
	// has was added or removed. If Absent has AttrOld, Old is not known.
	New, Old Fields
}

// ResourceDeleted says that a plain resource was deleted.
type ResourceDeleted struct {
	Change
	Of     Resource
	Values Fields // as they were at the end; nil if they are not known
}

// ResourceListener is called with every change of the plain resources of a realm, as a
// [TicketListener] is with those of tickets.
type ResourceListener interface {
	ResourceCreated(context.Context, ResourceCreated) error
	ResourceChanged(context.Context, ResourceChanged) error
	ResourceDeleted(context.Context, ResourceDeleted) error
}

// Resource registers l for every change of the plain resources of a realm, and starts a goroutine
// that calls it; see [Bus] for who ends it. If l is also a [LoadListener], [ResyncListener] or
// [BatchListener], it is called as that too. A function for one kind of event of all realms is
// registered with [On].
func (b *Bus) Resource(realm Resources, scope Scope, l ResourceListener) *Registration {
	return b.register(scope, l, func(e Event) bool {
		switch e.(type) {
		case ResourceCreated, ResourceChanged, ResourceDeleted:
			return e.Resource().Realm == Realm(realm)
		}
		return false
	}, func(ctx context.Context, e Event) error {
		switch e := e.(type) {
		case ResourceCreated:
			return l.ResourceCreated(ctx, e)
		case ResourceChanged:
			return l.ResourceChanged(ctx, e)
		case ResourceDeleted:
			return l.ResourceDeleted(ctx, e)
		}
		return nil
	})
}

// Event implements [JournalRealm].
func (r Resources) Event(e Entry) (Event, error) {
	if e.Resource.Realm != Realm(r) {
		return nil, fmt.Errorf("entry %s of %s: expected the realm %s", e.Kind, e.Resource, r)
	}
	switch e.Kind {
	case KindCreated:
		return ResourceCreated{e.Change, e.Resource, e.stateValues()}, nil
	case KindChanged:
		return ResourceChanged{e.Change, e.Resource, e.stateValues(), e.New, e.Old}, nil
	case KindDeleted:
		return ResourceDeleted{e.Change, e.Resource, e.stateValues()}, nil
	}
	return nil, fmt.Errorf("entry %s of %s: expected %s, %s or %s", e.Kind, e.Resource, KindCreated, KindChanged, KindDeleted)
}

// Entry implements [Recordable].
func (e ResourceCreated) Entry() Entry {
	return Entry{Resource: e.Of, Kind: KindCreated, Change: e.Change, State: stateOf(e.Values, nil)}
}

// Entry implements [Recordable].
func (e ResourceChanged) Entry() Entry {
	return Entry{e.Of, KindChanged, e.Change, stateAfter(e.Values, e.New), e.New, e.Old}
}

// Entry implements [Recordable].
func (e ResourceDeleted) Entry() Entry {
	return Entry{Resource: e.Of, Kind: KindDeleted, Change: e.Change, State: stateOf(e.Values, nil)}
}

// Resource returns Of.
func (e ResourceCreated) Resource() Resource { return e.Of }

// Resource returns Of.
func (e ResourceChanged) Resource() Resource { return e.Of }

// Resource returns Of.
func (e ResourceDeleted) Resource() Resource { return e.Of }

// Kind returns [KindCreated].
func (ResourceCreated) Kind() Kind { return KindCreated }

// Kind returns [KindChanged].
func (ResourceChanged) Kind() Kind { return KindChanged }

// Kind returns [KindDeleted].
func (ResourceDeleted) Kind() Kind { return KindDeleted }

// WithChange implements [Event].
func (e ResourceCreated) WithChange(c Change) Event { e.Change = c; return e }

// WithChange implements [Event].
func (e ResourceChanged) WithChange(c Change) Event { e.Change = c; return e }

// WithChange implements [Event].
func (e ResourceDeleted) WithChange(c Change) Event { e.Change = c; return e }

func (e ResourceCreated) normalized(c Change) (_ Event, err error) {
	e.Change = c.withValues(e.Values)
	e.Values, err = normalizedResource(e.Of, e.Values)
	return e, err
}

func (e ResourceDeleted) normalized(c Change) (_ Event, err error) {
	e.Change = c.withValues(e.Values)
	e.Values, err = normalizedResource(e.Of, e.Values)
	return e, err
}

// withValues says that values are not known, if they are not.
func (c Change) withValues(values Fields) Change {
	if values == nil {
		c.Absent |= AttrValues
	}
	return c
}

func (e ResourceChanged) normalized(c Change) (_ Event, err error) {
	e.Change = c.withValues(e.Values)
	if e.Values, err = normalizedResource(e.Of, e.Values); err != nil {
		return nil, err
	}
	if e.Old, err = e.Old.normalized(); err != nil {
		return nil, fmt.Errorf("old value of %w", err)
	}
	if e.New, err = e.New.normalized(); err != nil {
		return nil, fmt.Errorf("new value of %w", err)
	}
	switch {
	case e.New != nil:
	case e.Values == nil && len(e.Old) > 0:
		return nil, fmt.Errorf("%s: old values, and no new ones: expected Values or New", e.Of)
	default:
		e.New = Fields{}
		for name := range e.Old {
			if v, ok := e.Values[name]; ok {
				e.New[name] = v
			}
		}
	}
	return e, nil
}

func normalizedResource(r Resource, values Fields) (Fields, error) {
	switch {
	case r.Realm == RealmTicket || r.Realm == RealmWiki:
		return nil, fmt.Errorf("%s: expected a realm of plain resources", r)
	case r.ID == "" || len(r.ID) > 1000 || value.Text(r.ID) != r.ID:
		return nil, fmt.Errorf("resource %.100q: expected an id of 1 to 1000 bytes of UTF-8", r)
	}
	if err := entry.CheckName("realm", string(r.Realm)); err != nil {
		return nil, err
	}
	return values.normalized()
}

func (e ResourceCreated) appendPayload(dst []byte, f form) ([]byte, error) {
	return appendResource(dst, e.Change, e.Of, e.Values, nil, nil, f)
}

func (e ResourceChanged) appendPayload(dst []byte, f form) ([]byte, error) {
	if e.Absent.Has(AttrOld) {
		e.Old = nil
	}
	return appendResource(dst, e.Change, e.Of, e.Values, e.New, e.Old, f)
}

func (e ResourceDeleted) appendPayload(dst []byte, f form) ([]byte, error) {
	return appendResource(dst, e.Change, e.Of, e.Values, nil, nil, f)
}

func appendResource(dst []byte, c Change, r Resource, values, fresh, old Fields, f form) ([]byte, error) {
	if c.Absent.Has(AttrValues) {
		values = nil
	}
	return wire.AppendResource(dst, wire.Resource{
		Realm: string(r.Realm), ID: r.ID, Said: c.said(), Time: c.Time, Values: values, New: fresh, Old: old,
	}, f.orders)
}

// errNotPlain says that a message is not one of a plain resource.
var errNotPlain = errors.New("not a plain resource")

// decodeResource returns the event of a message whose payload says that it is of a plain
// resource.
func decodeResource(prefix, channel string, members []value.Member) (Event, error) {
	realm, id := memberText(members, "realm"), memberText(members, "id")
	ch, ok := wire.ParseChannel(channel, prefix, realm, id)
	if !ok || realm == "" || id == "" || realm == string(RealmTicket) || realm == string(RealmWiki) {
		return nil, errNotPlain
	}
	p := wire.Reader{Members: members}
	m := p.Resource()
	c := Change{Env: ch.Env, Absent: AttrOrigin | Attrs(p.Absent), Null: Attrs(p.Null), Author: m.Said.Author, Comment: m.Said.Comment, Time: m.Time}.withValues(m.Values)
	r := Resource{Realm(realm), id}
	var e Event
	switch Kind(ch.Kind) {
	case KindCreated:
		e = ResourceCreated{c, r, m.Values}
	case KindDeleted:
		e = ResourceDeleted{c, r, m.Values}
	case KindChanged:
		if m.New == nil {
			p.Fail("member %q is missing", "new_values")
		}
		if m.Old == nil {
			c.Absent |= AttrOld
			m.Old = unknown(m.New)
		}
		e = ResourceChanged{c, r, m.Values, m.New, m.Old}
	default:
		return nil, errNotPlain
	}
	return e, p.Err
}

// unknown has null for each field.
func unknown(values Fields) Fields {
	old := make(Fields, len(values))
	for name := range values {
		old[name] = nil
	}
	return old
}
