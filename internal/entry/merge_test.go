package entry

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus/internal/wire"
)

// TestTwoChangesBecomeOne has an example of each rule by which two changes of one
// resource in one transaction are reported as one, as two or not at all.
func TestTwoChangesBecomeOne(t *testing.T) {
	type f = Fields
	early, late := time.UnixMicro(1).UTC(), time.UnixMicro(2).UTC()
	change := func(state, before, after f) Entry {
		return Entry{Kind: changed, State: state, Old: before, New: after}
	}
	said := func(e Entry, comment string) Entry { e.Comment = comment; return e }
	null := func(e Entry, attrs wire.Attrs) Entry { e.Null = attrs; return e }
	all := func(e ...Entry) []Entry { return e }

	for name, test := range map[string]struct {
		changes []Entry
		keep    bool
		want    []Entry
	}{
		// Kinds.
		"created, then changed: created as it is now": {
			changes: all(Entry{Kind: created, State: f{"a": "1", "b": "1"}}, change(f{"b": "1"}, f{"a": "1"}, f{"a": "2"})),
			want:    all(Entry{Kind: created, State: f{"a": "2", "b": "1"}}),
		},
		"created, then deleted: nothing": {
			changes: all(Entry{Kind: created, State: f{"a": "1"}}, Entry{Kind: deleted, State: f{"a": "1"}}),
		},
		"changed, then deleted: deleted": {
			changes: all(said(change(nil, f{"a": "1"}, f{"a": "2"}), "x"), Entry{Kind: deleted, State: f{"a": "2"}}),
			want:    all(Entry{Kind: deleted, State: f{"a": "2"}}),
		},
		"deleted, then created: both": {
			changes: all(Entry{Kind: deleted}, Entry{Kind: created}),
			want:    all(Entry{Kind: deleted}, Entry{Kind: created}),
		},
		"a rarer kind: both, and what comes next begins with it": {
			changes: all(change(nil, f{"a": "1"}, f{"a": "2"}), Entry{Kind: "renamed"}, change(nil, f{"a": "2"}, f{"a": "3"})),
			want:    all(change(nil, f{"a": "1"}, f{"a": "2"}), Entry{Kind: "renamed"}, change(nil, f{"a": "2"}, f{"a": "3"})),
		},

		"two envs: both, because each is told where the other is not": {
			changes: all(Entry{Kind: created, Env: "a"}, Entry{Kind: deleted, Env: "b"}),
			want:    all(Entry{Kind: created, Env: "a"}, Entry{Kind: deleted, Env: "b"}),
		},
		"twice one env: one": {
			changes: all(Entry{Kind: created, Env: "a"}, Entry{Kind: changed, Env: "a", State: f{"a": "1"}}),
			want:    all(Entry{Kind: created, Env: "a", State: f{"a": "1"}}),
		},

		// Fields of two changes.
		"a field changed twice: from the first to the last": {
			changes: all(change(f{"b": "1"}, f{"a": "1"}, f{"a": "2"}), change(f{"b": "1"}, f{"a": "2"}, f{"a": "3"})),
			want:    all(change(f{"b": "1"}, f{"a": "1"}, f{"a": "3"})),
		},
		"two fields: both": {
			changes: all(change(f{"b": "1"}, f{"a": "1"}, f{"a": "2"}), change(f{"a": "2"}, f{"b": "1"}, f{"b": "2"})),
			want:    all(change(f{}, f{"a": "1", "b": "1"}, f{"a": "2", "b": "2"})),
		},
		"a field is as it was before: only the other changed": {
			changes: all(change(f{}, f{"a": "1", "b": "1"}, f{"a": "2", "b": "2"}), change(f{"b": "2"}, f{"a": "2"}, f{"a": "1"})),
			want:    all(change(f{"a": "1"}, f{"b": "1"}, f{"b": "2"})),
		},
		"a field removed after it was changed: removed": {
			changes: all(change(f{}, f{"a": "1"}, f{"a": "2"}), change(f{}, f{"a": "2"}, nil)),
			want:    all(change(f{}, f{"a": "1"}, f{})),
		},
		"a field added, then removed: nothing": {
			changes: all(change(f{}, nil, f{"a": "1"}), change(f{}, f{"a": "1"}, nil)),
		},
		"no state is known: none after": {
			changes: all(change(nil, f{"a": "1"}, f{"a": "2"}), change(nil, f{"a": "2"}, f{"a": "3"})),
			want:    all(change(nil, f{"a": "1"}, f{"a": "3"})),
		},

		// What undoes, and what does not.
		"the second takes the first back: nothing": {
			changes: all(change(f{"b": "1"}, f{"a": "1"}, f{"a": "2"}), change(f{"b": "1"}, f{"a": "2"}, f{"a": "1"})),
		},
		"taken back, but a model kept it in a history: a change of no field": {
			changes: all(change(f{}, f{"a": "1"}, f{"a": "2"}), change(f{}, f{"a": "2"}, f{"a": "1"})), keep: true,
			want: all(change(f{"a": "1"}, f{}, f{})),
		},
		"taken back with a comment: the comment": {
			changes: all(change(f{}, f{"a": "1"}, f{"a": "2"}), said(change(f{}, f{"a": "2"}, f{"a": "1"}), "sorry")),
			want:    all(said(change(f{"a": "1"}, f{}, f{}), "sorry")),
		},
		"taken back, and the states differ elsewhere: the state": {
			changes: all(change(f{"b": "1"}, f{"a": "1"}, f{"a": "2"}), change(f{"b": "2"}, f{"a": "2"}, f{"a": "1"})),
			want:    all(change(f{"a": "1", "b": "2"}, f{}, f{})),
		},
		"taken back, and only times differ: nothing": {
			changes: all(change(f{"t": early}, f{"a": "1"}, f{"a": "2"}), change(f{"t": late}, f{"a": "2"}, f{"a": "1"})),
		},
		"a first that names no difference may have made one: the second": {
			changes: all(change(f{"a": "1"}, f{}, f{}), change(f{"a": "1"}, f{}, f{})),
			want:    all(change(f{"a": "1"}, f{}, f{})),
		},

		// Comments, and what is null.
		"a second comment: the second": {
			changes: all(said(change(nil, f{"a": "1"}, f{"a": "2"}), "x"), said(change(nil, f{"a": "2"}, f{"a": "3"}), "y")),
			want:    all(said(change(nil, f{"a": "1"}, f{"a": "3"}), "y")),
		},
		"no second comment: the first": {
			changes: all(said(change(nil, f{"a": "1"}, f{"a": "2"}), "x"), null(change(nil, f{"a": "2"}, f{"a": "3"}), wire.Comment)),
			want:    all(said(change(nil, f{"a": "1"}, f{"a": "3"}), "x")),
		},
		"the text before is null as the first says": {
			changes: all(null(change(nil, f{"a": "1"}, f{"a": "2"}), wire.OldText), null(change(nil, f{"a": "2"}, f{"a": "3"}), wire.Author)),
			want:    all(null(change(nil, f{"a": "1"}, f{"a": "3"}), wire.OldText|wire.Author)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			var p Pending
			for _, e := range test.changes {
				if test.keep {
					p.Keep(e.Resource)
				}
				p.Add(e)
			}
			assert.Equal(t, test.want, p.All())
		})
	}
}

// TestPending: resources stay in the order in which they were first changed.
func TestPending(t *testing.T) {
	a, b := Resource{"ticket", "1"}, Resource{"wiki", "A"}
	change := func(r Resource, before, after string) Entry {
		return Entry{Resource: r, Kind: changed, Old: Fields{"f": before}, New: Fields{"f": after}}
	}
	var p Pending
	_, found := p.Of(a)
	assert.False(t, found)
	p.Add(change(a, "1", "2"))
	p.Add(change(b, "1", "2"))
	p.Add(change(a, "2", "3"))
	assert.Equal(t, []Entry{change(a, "1", "3"), change(b, "1", "2")}, p.All())
	last, found := p.Of(a)
	assert.True(t, found)
	assert.Equal(t, change(a, "1", "3"), last)

	p.Keep(b)
	p.Retract(b)
	_, found = p.Of(b)
	assert.False(t, found, "retracted")
	p.Add(change(b, "1", "2"))
	p.Add(change(b, "2", "1"))
	assert.Equal(t, []Entry{change(a, "1", "3")}, p.All(), "what was retracted is not kept either")
}

// A change that says only what it changed leaves what was created before as it was.
func TestMergeCreatedAndPart(t *testing.T) {
	var p Pending
	r := Resource{Realm: "task", ID: "1"}
	p.Add(Entry{Resource: r, Kind: created, State: Fields{"a": "1", "b": "1", "c": "1"}})
	p.Add(Entry{Resource: r, Kind: changed, New: Fields{"a": "2"}, Old: Fields{"a": "1", "b": "1"}, Absent: wire.Values})
	got, ok := p.Of(r)
	assert.True(t, ok)
	assert.Equal(t, created, got.Kind)
	assert.Equal(t, Fields{"a": "2", "c": "1"}, got.State)
	assert.Zero(t, got.Absent)
}

// What a resource lost in the first of two changes it does not have after the second either.
func TestMergeKeepsLost(t *testing.T) {
	lost := Entry{Kind: changed, State: Fields{"b": "1", Lost + "a": nil}, New: Fields{"a": ""}, Old: Fields{"a": "1"}}
	then := Entry{Kind: changed, State: Fields{}, New: Fields{"b": "2"}, Old: Fields{"b": "1"}}
	got, ok := merge(lost, then)
	assert.True(t, ok)
	assert.Equal(t, Fields{Lost + "a": nil}, got.State)
	assert.Equal(t, Fields{"a": "", "b": "2"}, got.New)

	again := Entry{Kind: changed, State: Fields{"b": "1"}, New: Fields{"a": "2"}, Old: Fields{}}
	got, _ = merge(lost, again)
	assert.Equal(t, Fields{"b": "1"}, got.State)
	assert.Equal(t, Fields{"a": "2"}, got.New)
}
