// Package entry takes a change apart into a journal's rows, and puts it together
// again; and it makes one change of two that a transaction made of one resource.
// It speaks plain data: it knows no event, no ticket and no page.
package entry

import (
	"time"

	"github.com/tracbus/tracbus/internal/tracecontext"
	"github.com/tracbus/tracbus/internal/wire"
)

// Entry is a change as a journal keeps it: one row of journal_change.
type Entry struct {
	Resource Resource
	Kind     string

	TID           int64
	Seq           int
	CommitID      string
	Time          time.Time
	Author, IPNR  string
	Authenticated bool
	Env           string // that the change names; "" is the bus's own
	Comment       string
	Null, Absent  wire.Attrs

	// Trace is that of the request that made the change, and not compared when two changes
	// are made one.
	Trace tracecontext.Context

	// State is what is known of the resource, without the fields in New. New
	// and Old are the fields that changed, after and before: a field in only
	// one of them was added or removed.
	State, New, Old Fields
}

// Resource is what was changed.
type Resource struct{ Realm, ID string }

// Fields are values by the names of their fields.
type Fields = map[string]any

// The kinds that two changes of one resource can become one of. Changes of other
// kinds stay what they are.
const (
	created = "created"
	changed = "changed"
	deleted = "deleted"
)

// Lost begins the name, in State, of a field of New that the resource does not have any more: New
// has what is sent in its place.
const Lost = "=-"

// NewState returns the full state after the change: State with New laid over it.
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
