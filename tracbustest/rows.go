package tracbustest

import (
	"context"
	"errors"
	"fmt"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/internal/tracecontext"
	"github.com/tracbus/tracbus/internal/wire"
	"github.com/tracbus/tracbus/tracbustest/internal/compare"
)

// taken returns an event as a bus delivers it, which is what a journal stores: with valid
// texts, and times in whole microseconds.
func taken(ctx context.Context, e tracbus.Event) (tracbus.Event, error) {
	bus := tracbus.NewBus("tracbustest")
	var got tracbus.Event
	heard := tracbus.On(bus, tracbus.Primary, func(_ context.Context, e tracbus.Event) error { got = e; return nil })
	err := bus.Notify(e)
	if err == nil {
		err = heard.Wait(ctx)
	}
	return got, errors.Join(err, bus.Close(ctx))
}

// kept returns the entry of an event as a journal's transaction has it.
func kept(e tracbus.Event) (made tracbus.Entry, plain entry.Entry, err error) {
	recordable, ok := e.(tracbus.Recordable)
	if !ok {
		return made, plain, fmt.Errorf("a %T has no method Entry", e)
	}
	err = guarded(func() error { made = recordable.Entry(); return nil })
	if err != nil {
		return made, plain, fmt.Errorf("method Entry of %T: %w", e, err)
	}
	switch {
	case made.Resource != e.Resource() || made.Kind != e.Kind():
		return made, plain, fmt.Errorf("the Entry is of %s %s, the event of %s %s", made.Resource, made.Kind, e.Resource(), e.Kind())
	case compare.Difference(made.Change, e.About()) != "":
		return made, plain, fmt.Errorf("the Entry's Change is not the event's: %s", compare.Difference(e.About(), made.Change))
	}
	plain = plainOf(made)
	return made, plain, plain.Check(false, anyText)
}

// anyText is what a database says that stores every text.
func anyText(string, string) error { return nil }

// throughRows returns an entry as it comes back from the rows that a journal stores of it.
func throughRows(e entry.Entry) (tracbus.Entry, error) {
	row, err := entry.Row(e)
	if err != nil {
		return tracbus.Entry{}, err
	}
	row.TID, row.Seq, row.CommitID = e.TID, e.Seq, e.CommitID // which the database gives
	back, err := entry.FromRow(row)
	return entryOf(back), err
}

// plainOf returns an entry in the form of package entry, as the root does. A test compares
// both ways with what a real journal stores.
func plainOf(e tracbus.Entry) entry.Entry {
	c := e.Change
	return entry.Entry{
		Resource: entry.Resource{Realm: string(e.Resource.Realm), ID: e.Resource.ID}, Kind: string(e.Kind),
		TID: c.TID, Seq: c.Seq, CommitID: c.CommitID, Time: c.Time,
		Author: c.Author, IPNR: c.IPNR, Authenticated: c.Authenticated, Env: c.Env, Comment: c.Comment,
		Trace: tracecontext.Context(c.Trace), Null: wire.Attrs(c.Null), Absent: wire.Attrs(c.Absent),
		State: e.State, New: e.New, Old: e.Old,
	}
}

// entryOf is the reverse of plainOf. It does not say who committed it.
func entryOf(e entry.Entry) tracbus.Entry {
	return tracbus.Entry{
		Resource: tracbus.Resource{Realm: tracbus.Realm(e.Resource.Realm), ID: e.Resource.ID}, Kind: tracbus.Kind(e.Kind),
		Change: tracbus.Change{
			TID: e.TID, Seq: e.Seq, CommitID: e.CommitID, Time: e.Time,
			Author: e.Author, IPNR: e.IPNR, Authenticated: e.Authenticated, Env: e.Env, Comment: e.Comment,
			Trace: tracbus.Trace(e.Trace), Null: tracbus.Attrs(e.Null), Absent: tracbus.Attrs(e.Absent),
		},
		State: e.State, New: e.New, Old: e.Old,
	}
}
