package tracbus

// Entry is a change as a journal keeps it: one row of <realm>_journal with the
// rows of <realm>_history that belong to it, in the form that all realms share.
type Entry struct {
	Resource Resource
	Kind     Kind

	// Change is the event's common part.
	Change Change

	// State is what the event tells of the resource, but for the fields in New,
	// which a journal keeps once only.
	State Fields

	// New and Old are the fields that changed, after and before. A field that
	// only one of them has came or went.
	New, Old Fields
}

// Recordable is an [Event] that a journal can keep. All event types of this
// package but [Resync] are; those of a realm of your own need this method, and a
// [JournalRealm] that understands the result.
type Recordable interface {
	Event
	// Entry returns the event in the form that the journal keeps. What it
	// returns is not changed by anybody; it may share the event's Fields.
	Entry() Entry
}

// JournalRealm is a kind of resource that a journal has tables for,
// <realm>_journal and <realm>_history. [Tickets] and [Pages] are two.
type JournalRealm interface {
	// Realm returns the realm's name: lower-case letters, digits and _, a
	// letter first, 30 at most.
	Realm() Realm

	// Event returns the event that an entry tells, exactly as it was when
	// [Recordable.Entry] was called on it. An error says that the entry is not
	// one of this realm.
	Event(Entry) (Event, error)
}

// NewState returns the full state that the entry tells: State with New laid over it.
func (e Entry) NewState() Fields {
	all := make(Fields, len(e.State)+len(e.New))
	for name, v := range e.State {
		all[name] = v
	}
	for name, v := range e.New {
		all[name] = v
	}
	return all
}
