package tracbus

import (
	"cmp"
	"time"

	"github.com/tracbus/tracbus/internal/tracecontext"
	"github.com/tracbus/tracbus/internal/value"
	"github.com/tracbus/tracbus/internal/wire"
)

// Realm names a kind of resource, as Trac does.
type Realm string

// The realms that the original plugin publishes.
const (
	RealmTicket Realm = "ticket"
	RealmWiki   Realm = "wiki"
)

// Resource is one thing of a realm: a ticket by its number, a page by its name. A journal takes
// changes of one Resource for changes of one thing, whatever their [Change.Env].
type Resource struct {
	Realm Realm
	ID    string
}

// String returns the resource as "ticket 17".
func (r Resource) String() string { return string(r.Realm) + " " + r.ID }

// Kind says what was done to a resource. It is a part of the channel's name.
type Kind string

// The kinds that every realm has. The rarer ones are declared with their events.
const (
	KindCreated Kind = wire.Created // the resource is new
	KindChanged Kind = wire.Changed // the resource is different
	KindDeleted Kind = wire.Deleted // the resource is gone
)

// An Event describes one change of one resource. The types are [TicketCreated],
// [TicketChanged], [TicketDeleted], [WikiPageCreated], [WikiPageChanged],
// [WikiPageDeleted], five rarer ones beside them, [ResourceCreated], [ResourceChanged] and
// [ResourceDeleted] of other realms, and [Resync], which says that changes were missed.
//
// Events are values, but their [Fields] are shared by all who have them: nobody may
// change them once the event was given to a bus. A listener may keep them as long as
// it likes. Go's race detector finds who breaks that.
type Event interface {
	// About returns what all events share.
	About() Change
	// Resource returns what was changed.
	Resource() Resource
	// Kind returns what was done to it.
	Kind() Kind
	// WithChange returns a copy whose About returns c.
	WithChange(c Change) Event
}

// Change is the part that all events share: which commit, by whom, when.
type Change struct {
	// Env is the second part of the channel: the tracker's short name, or that of one of its
	// projects. Zero means that of the bus, which fills it in. A name is UTF-8 of 1 to 1,000 bytes
	// without control characters; a part of it after a dot is not a kind's name. It does not
	// belong to the [Resource].
	Env string

	// TID is the journal's transaction id, and Seq the place in that
	// transaction. Zero means that there is no journal.
	TID int64
	Seq int

	// CommitID is the random identity of the transaction, beside TID: after the
	// database's history went back, a TID may be given again, but a CommitID is
	// not. Empty if there is no journal.
	CommitID string

	// Time is when the change was made. Zero means now, when the bus takes the
	// event.
	Time time.Time

	// Author made the change, from the IP address IPNR. Authenticated says
	// whether the author was signed in.
	Author        string
	IPNR          string
	Authenticated bool

	// Comment is what the author said of it.
	Comment string

	// Trace is that of the request that made the change, if [BusConfig.Tracer] is set where it
	// was made. A message has none; the entry of a stream does.
	Trace Trace

	// Primary says that this process made the change. The bus fills it in.
	Primary bool

	// Null and Absent say what the zero value of a part means: null in the
	// tracker's database, or unknown, because a Redis message does not carry
	// it. Zero means that every part is present.
	Null, Absent Attrs
}

// About returns c. Event types get this method by embedding a Change.
func (c Change) About() Change { return c }

// Attrs is a set of the attributes of an event that can be null or absent.
type Attrs uint16

// The attributes. In an event with a Page, AttrAuthor, AttrComment and AttrTime
// are the Page's. AttrOrigin is what no message of the original plugin carries:
// TID, Seq, CommitID, IPNR, Authenticated, Primary, and who deleted or renamed a
// page, and when. AttrValues are the values of a ticket that did not change, and the Values of a plain resource. AttrActor is
// who made the change, and AttrAddress are IPNR and Authenticated: what a [Capture] cannot know.
// AttrOld are the values before the change: then Old has null for each field that may have changed.
const (
	AttrAuthor   = Attrs(wire.Author)
	AttrComment  = Attrs(wire.Comment)
	AttrTime     = Attrs(wire.Time)
	AttrVersion  = Attrs(wire.Version)
	AttrText     = Attrs(wire.Text)
	AttrOldText  = Attrs(wire.OldText)
	AttrReadonly = Attrs(wire.Readonly)
	AttrValues   = Attrs(wire.Values)
	AttrOrigin   = Attrs(wire.Origin)
	AttrActor    = Attrs(wire.Actor)
	AttrAddress  = Attrs(wire.Address)
	AttrOld      = Attrs(wire.Old)
)

// Has says whether a holds all of b.
func (a Attrs) Has(b Attrs) bool { return a&b == b }

// normalized returns c as the bus of an env delivers it ("" says that it has been on one): with
// valid texts, and a time in whole microseconds, which is now if nobody said when.
func (c Change) normalized(env string, primary bool) (_ Change, err error) {
	if c.Env != "" && env != "" && c.Env != env {
		if err := wire.CheckEnv(c.Env); err != nil {
			return c, err
		}
	}
	c.Env, c.Primary = cmp.Or(c.Env, env), c.Primary || primary
	c.Author, c.IPNR, c.Comment = value.Text(c.Author), value.Text(c.IPNR), value.Text(c.Comment)
	c.Trace = Trace(tracecontext.Context(c.Trace).Valid())
	c.Time, err = value.Time(c.when())
	return c, err
}

// when returns the change's time, which is now unless it is known or known to
// be missing.
func (c Change) when() time.Time {
	if c.Time.IsZero() && !(c.Null | c.Absent).Has(AttrTime) {
		return time.Now().UTC()
	}
	return c.Time
}

// Resync says that changes were missed, or may have been: state that is kept up to
// date by events must be loaded again. It is delivered to each [ResyncListener], and
// to functions registered for it or for every [Event]. A [Subscriber] yields it.
type Resync struct {
	Change

	// Reason says why.
	Reason ResyncReason

	// Missed counts the changes that are known to be lost. Zero means that the
	// number is unknown.
	Missed int

	// After and Through are tids: what was missed comes after the one, up to and
	// including the other. Zero means not known. [Subscriber.Stream] fills them in.
	After, Through int64

	// Err is the failure that led to it. It may be nil.
	Err error
}

// ResyncReason says why changes were missed.
type ResyncReason string

// The reasons for a [Resync].
const (
	// ResyncSubscribed: a subscription begins here; what came before is not known.
	ResyncSubscribed ResyncReason = "subscribed"
	// ResyncReconnected: a subscription was interrupted and exists again.
	ResyncReconnected ResyncReason = "reconnected"
	// ResyncOverflowed: a listener's queue was full, and its oldest changes dropped.
	ResyncOverflowed ResyncReason = "overflowed"
	// ResyncListenerFailed: a listener failed on a change until its repetitions were used up.
	ResyncListenerFailed ResyncReason = "gave up"
	// ResyncLoading: a [LoadListener] is loaded for the first time, or asked for it.
	ResyncLoading ResyncReason = "loading"
	// ResyncPruned: changes were pruned before they were read; Err wraps [ErrPruned].
	ResyncPruned ResyncReason = "pruned"
	// ResyncRewound: the database's history went back; Err wraps [ErrRewound].
	ResyncRewound ResyncReason = "rewound"
	// ResyncStreamTrimmed: a stream no longer keeps what comes next; After and
	// Through say what that was.
	ResyncStreamTrimmed ResyncReason = "trimmed"
	// ResyncStreamReset: a stream was reset, because Redis was emptied or the
	// journal's history went back. After is the last change handled before; tids
	// after it may be those of other changes than they were.
	ResyncStreamReset ResyncReason = "restarted"
	// ResyncEntryUnreadable: a change in the journal's tables cannot be read.
	ResyncEntryUnreadable ResyncReason = "unreadable"
)

// Resource returns the zero Resource: a Resync is about all of them.
func (Resync) Resource() Resource { return Resource{} }

// Kind returns "resync".
func (Resync) Kind() Kind { return "resync" }

// WithChange implements [Event].
func (e Resync) WithChange(c Change) Event { e.Change = c; return e }

// Fields holds the values of a ticket by the names of their fields. A value is
// nil (null), a string, a bool, a [json.Number] or a [time.Time]. When an event
// enters a bus, its values are normalised, so that every listener gets the same:
// Go's other integers and floats become a json.Number, times lose nanoseconds
// and the monotonic clock, and bytes that are not UTF-8 become U+FFFD. Every
// other type is refused with an error that names the field.
//
// Trac itself keeps null, string and time only, as [ticket-custom] in trac.ini
// says which. A message carries JSON's types, so a time comes back as the string
// that was sent; see [Fields.Time].
type Fields map[string]any

// Text returns a field's string, or "" if there is none.
func (f Fields) Text(name string) string {
	s, _ := f[name].(string)
	return s
}

// Time returns a field's time, also if it is a string in the form that messages
// have. It reports false if the field holds no time.
func (f Fields) Time(name string) (time.Time, bool) {
	switch v := f[name].(type) {
	case time.Time:
		return v, true
	case string:
		t, err := value.ParseTime(v)
		return t, err == nil
	}
	return time.Time{}, false
}

// ownEvent is one of the library's, which normalises its fields itself.
type ownEvent interface {
	normalized(Change) (Event, error)
}

// normalized returns f if its values are normalised, and otherwise a copy in which
// they are.
func (f Fields) normalized() (Fields, error) { return value.NormalizeFields(f) }
