package tracbustest

import (
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/tracbustest/internal/compare"
	"github.com/tracbus/tracbus/tracbustest/internal/hostile"
)

// Realm checks a realm with examples of its events, which need no database: at least one of
// each kind, with all parts filled in, and those of one resource in an order in which they
// could happen. Each event comes back from the rows of a journal as it was: also with other
// texts, with parts that are null, and as one with the next change of the same transaction.
//
// The events may be those that an application records: what a bus fills in or makes
// uniform, such as times in nanoseconds, is not held against them.
func Realm(t T, realm tracbus.JournalRealm, events ...tracbus.Event) {
	t.Helper()
	c := realmCheck{report{t, fmt.Sprintf("realm %T", realm)}, realm}
	if err := entry.CheckName("realm", string(realm.Realm())); err != nil {
		c.broken(promiseName, "%v", err)
	}
	if len(events) == 0 {
		c.broken(promiseEvents, "no event was given")
	}
	var sound []tracbus.Event
	for _, e := range events {
		if e := c.event(e); e != nil {
			sound = append(sound, e)
		}
	}
	for i, e := range sound {
		c.common(e)
		c.texts(e)
		c.damaged(e)
		for _, next := range sound[i+1:] {
			if next.Resource() == e.Resource() {
				c.merged(e, next)
			}
		}
		c.reversed(e)
	}
}

var (
	promiseName   = promise{"name", "A realm's name has lower-case letters, digits and _, a letter first, 30 at most.", "It is a part of the names of tables and channels. OpenJournal refuses another one."}
	promiseEvents = promise{"examples", "The check is given at least one event of each kind.", "What is not shown is not checked."}
	promiseTaken  = promise{"an event is taken", "An event is a value, no pointer, of the realm that is checked, and recordable. WithChange returns it with another Change and nothing else different.", "A transaction refuses it otherwise, or listeners get another event than the one that was recorded."}
	promiseBack   = promise{"an event comes back", "JournalRealm.Event returns an event equal to the one whose Entry was stored.", "Listeners in all processes, History and Since get what comes back, never the event that was recorded."}
	promiseCommon = promise{"the common part comes back", "About of the event that comes back is the entry's Change: author, address, comment, time, and what is null.", "Who changed what, and when, would differ between processes and in the history."}
	promiseTexts  = promise{"any text comes back", "A text of an event comes back as it was, whatever characters it has. What the realm cannot keep, it refuses with an error.", "Users type every character there is. A text that is cut, trimmed or taken for something else is a lost change."}
	promiseMerged = promise{"two changes are one", "The event of two changes that one transaction made of one resource comes back, too: created and changed is created, with all fields in State.", "A transaction that changes a resource twice reports one change, whose entry the realm's own Entry method has not made."}
	promiseDamage = promise{"what it does not know is an error", "JournalRealm.Event returns an error for an entry of a kind that it does not know, or without the fields that it needs. It never panics, and never returns nil without an error.", "Another release of the program may have written the entry. A panic here would stop delivery in every process."}
)

type realmCheck struct {
	report
	realm tracbus.JournalRealm
}

// event checks an event as it is, and returns it as a bus delivers it; nil if no more can
// be said of it.
func (c realmCheck) event(e tracbus.Event) tracbus.Event {
	c.t.Helper()
	e, err := taken(c.t.Context(), e)
	if err == nil && e.Resource().Realm != c.realm.Realm() {
		err = fmt.Errorf("it is of the realm %q", e.Resource().Realm)
	}
	if err == nil {
		err = guarded(func() error {
			other := e.WithChange(tracbus.Change{Author: "somebody else"})
			if other.About() != (tracbus.Change{Author: "somebody else"}) {
				return fmt.Errorf("WithChange returns an event whose About is %+v", other.About())
			}
			if d := compare.Difference(e, other.WithChange(e.About())); d != "" {
				return fmt.Errorf("after WithChange, %s", d)
			}
			return nil
		})
	}
	if err != nil {
		c.broken(promiseTaken, "%T: %v", e, err)
		return nil
	}
	if err := c.comesBack(e, false); err != nil {
		c.broken(promiseBack, "%s: %v", called(e), err)
		return nil
	}
	return e
}

// comesBack says why an event is not what the journal returns of it. If lenient, the realm
// may refuse the event.
func (c realmCheck) comesBack(e tracbus.Event, lenient bool) error {
	about := e.About()
	about.TID, about.Seq, about.CommitID = 7, 3, "a commit id"
	e = e.WithChange(about)
	made, plain, err := kept(e)
	if err != nil {
		return err
	}
	if again, _, err := kept(e); err != nil || compare.Difference(made, again) != "" {
		return fmt.Errorf("the second call of Entry differs: %w%s", err, compare.Difference(made, again))
	}
	back, err := throughRows(plain)
	if err != nil {
		return fmt.Errorf("rows: %w", err)
	}
	got, err := c.eventOf(back)
	switch {
	case lenient && err != nil && !errors.As(err, new(*panicked)):
		c.t.Logf("%s: refused, which is no failure: %s: %v", c.what, called(e), err)
		return nil
	case err != nil:
		return err
	}
	about.Primary = got.About().Primary // which a journal fills in
	if d := compare.Difference(e.WithChange(about), got); d != "" {
		return errors.New(d)
	}
	return nil
}

// eventOf has the realm make an event.
func (c realmCheck) eventOf(e tracbus.Entry) (got tracbus.Event, err error) {
	err = guarded(func() (err error) {
		got, err = c.realm.Event(e)
		if err == nil && got == nil {
			err = fmt.Errorf("%w", errNothing)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("JournalRealm.Event: %w", err)
	}
	return got, nil
}

var errNothing = errors.New("it returned nil, and no error")

// common checks the part that all events share.
func (c realmCheck) common(e tracbus.Event) {
	c.t.Helper()
	for name, change := range map[string]func(*tracbus.Change){
		"nothing said": func(a *tracbus.Change) { a.Author, a.IPNR, a.Comment, a.Authenticated = "", "", "", false },
		"all said":     func(a *tracbus.Change) { a.Author, a.IPNR, a.Comment, a.Authenticated = "joe", "::1", "why", true },
		"hostile texts": func(a *tracbus.Change) {
			a.Author, a.IPNR, a.Comment = hostile.Texts[0], hostile.Texts[5], hostile.Texts[6]
		},
		"before 1970":       func(a *tracbus.Change) { a.Time = time.UnixMicro(-1_234_567).UTC() },
		"an env of its own": func(a *tracbus.Change) { a.Env = "project" },
		"a trace": func(a *tracbus.Change) {
			a.Trace = tracbus.Trace{Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", State: "a=b"}
		},
		"a null author":      func(a *tracbus.Change) { a.Author, a.Null = "", a.Null|tracbus.AttrAuthor },
		"a null comment":     func(a *tracbus.Change) { a.Comment, a.Null = "", a.Null|tracbus.AttrComment },
		"a null time":        func(a *tracbus.Change) { a.Time, a.Null = time.Time{}, a.Null|tracbus.AttrTime },
		"values not known":   func(a *tracbus.Change) { a.Absent |= tracbus.AttrValues },
		"an actor not known": func(a *tracbus.Change) { a.Author, a.Absent = "", a.Absent|tracbus.AttrActor },
		"address not known":  func(a *tracbus.Change) { a.IPNR, a.Absent = "", a.Absent|tracbus.AttrAddress },
		"nothing is null":    func(a *tracbus.Change) { a.Null = 0 },
		"every zero is a nil": func(a *tracbus.Change) {
			*a = tracbus.Change{Null: tracbus.AttrAuthor | tracbus.AttrComment | tracbus.AttrTime}
		},
	} {
		about := e.About()
		change(&about)
		if err := c.comesBack(e.WithChange(about), false); err != nil {
			c.broken(promiseCommon, "%s, with %s: %v", called(e), name, err)
		}
	}
}

// texts replaces each text of an event, wherever it has it.
func (c realmCheck) texts(e tracbus.Event) {
	c.t.Helper()
	for _, old := range hostile.TextsOf(e) {
		for _, text := range hostile.Texts {
			if err := c.comesBack(hostile.WithText(e, old, text), true); err != nil {
				c.broken(promiseTexts, "%s, with %q in the place of %.60q: %v", called(e), text, old, err)
				break // the others say the same
			}
		}
	}
	for _, name := range hostile.Names {
		if e, has := hostile.WithField(e, name); has {
			if err := c.comesBack(e, true); err != nil {
				c.broken(promiseTexts, "%s, with a field of the name %q: %v", called(e), name, err)
			}
		}
	}
}

// damaged gives the realm entries that it may meet, and cannot know.
func (c realmCheck) damaged(e tracbus.Event) {
	c.t.Helper()
	made, _, err := kept(e)
	if err != nil {
		return // it was said
	}
	unknown := made
	unknown.Kind = "tracbustest"
	if got, err := c.eventOf(unknown); err == nil && got.Kind() != unknown.Kind {
		c.broken(promiseDamage, "an entry of the kind %q became a %T of the kind %q", unknown.Kind, got, got.Kind())
	} else if err != nil {
		c.unlessRefused(unknown.Kind, err)
	}
	for _, f := range []func(*tracbus.Entry){
		func(e *tracbus.Entry) { e.State, e.New, e.Old = nil, nil, nil },
		func(e *tracbus.Entry) { e.State, e.New, e.Old = nulls(e.State), nulls(e.New), nulls(e.Old) },
		func(e *tracbus.Entry) { e.State, e.New, e.Old = truths(e.State), truths(e.New), truths(e.Old) },
		func(e *tracbus.Entry) { e.Resource.ID = "tracbustest" },
	} {
		bad := made
		f(&bad)
		if _, err := c.eventOf(bad); err != nil {
			c.unlessRefused(bad.Kind, err)
		}
	}
}

// unlessRefused lets an error be, but no panic.
func (c realmCheck) unlessRefused(kind tracbus.Kind, err error) {
	c.t.Helper()
	if errors.As(err, new(*panicked)) || errors.Is(err, errNothing) {
		c.broken(promiseDamage, "an entry of the kind %q that is not complete: %v", kind, err)
	}
}

func nulls(f tracbus.Fields) tracbus.Fields  { return allAre(f, nil) }
func truths(f tracbus.Fields) tracbus.Fields { return allAre(f, true) }

func allAre(f tracbus.Fields, v any) tracbus.Fields {
	all := tracbus.Fields{}
	for name := range f {
		all[name] = v
	}
	return all
}

// merged checks two changes of one transaction.
func (c realmCheck) merged(first, second tracbus.Event) {
	c.t.Helper()
	_, a, err1 := kept(first)
	_, b, err2 := kept(second)
	if err1 != nil || err2 != nil {
		return // it was said
	}
	var pending entry.Pending
	pending.Add(a)
	pending.Add(b)
	for _, one := range pending.All() {
		one.TID, one.CommitID = 7, "a commit id"
		if err := c.standsFor(one); err != nil {
			c.broken(promiseMerged, "%s, and then %s, are %s: %v", called(first), called(second), one.Kind, err)
		}
	}
}

// standsFor says why the event of an entry is another entry's.
func (c realmCheck) standsFor(one entry.Entry) error {
	back, err := throughRows(one)
	if err != nil {
		return err
	}
	got, err := c.eventOf(back)
	if err != nil {
		return err
	}
	again, _, err := kept(got)
	if err != nil {
		return err
	}
	again.Change = back.Change                         // it is compared elsewhere
	whole := func(e tracbus.Entry) [2]tracbus.Fields { // nil and empty are the same here
		return [2]tracbus.Fields{e.NewState(), tracbus.Entry{New: e.Old}.NewState()}
	}
	if d := compare.Difference(whole(back), whole(again)); d != "" {
		return fmt.Errorf("of its state after [0] or its old values [1], %s", d)
	}
	return nil
}

// reversed checks a change together with the one that takes it back, and says something,
// so that the two are reported.
func (c realmCheck) reversed(e tracbus.Event) {
	c.t.Helper()
	made, _, err := kept(e)
	if err != nil || made.Kind != tracbus.KindChanged {
		return
	}
	made.New, made.Old = made.Old, made.New
	made.Change.Comment = "back again"
	if back, err := c.eventOf(made); err == nil {
		c.merged(e, back)
	}
}

// called names an event in a few words.
func called(e tracbus.Event) string { return fmt.Sprintf("%T of %s", e, e.Resource()) }
