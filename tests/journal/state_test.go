package journal_test

import (
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

const tasks = tracbus.Resources("task")

func withTasks() desk.Config {
	return desk.Config{Journal: tracbus.JournalConfig{Realms: []tracbus.JournalRealm{tracbus.Tickets{}, tracbus.Pages{}, tasks}}}
}

// TestStates: random histories that are recorded by their states alone are told as those that are
// recorded with their old values: of plain resources and of tickets, also several in a transaction.
func TestStates(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		var told [2][]string
		for i, byState := range []bool{false, true} {
			d := desk.Seat(t, s, s.DSN(s.Name()), withTasks())
			h := history{rand: rand.New(rand.NewPCG(seed, 0)), byState: byState, states: map[tracbus.Resource]tracbus.Fields{}}
			var last int64
			for range 120 {
				tid, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
					for range 1 + h.rand.IntN(2)*h.rand.IntN(4) {
						require.NoError(t, h.step(t, tx))
					}
					return nil
				})
				require.NoError(t, err)
				last = max(last, tid)
			}
			require.NoError(t, d.Wait(testkit.Within(t), last))
			all, _ := d.Heard()
			for _, e := range all {
				told[i] = append(told[i], whole(e))
			}
		}
		require.Greater(t, len(told[0]), 80)
		for i := range max(len(told[0]), len(told[1])) {
			require.Less(t, i, min(len(told[0]), len(told[1])), "of %d and %d", len(told[0]), len(told[1]))
			require.Equal(t, told[0][i], told[1][i], "change %d", i)
		}
	})
}

// whole is all that an event says of its resource.
func whole(e tracbus.Event) string {
	r := e.(tracbus.Recordable).Entry()
	return fmt.Sprintf("%s %s %q %v: %v, %v to %v", r.Resource, r.Kind, r.Change.Comment, r.Change.Absent, r.State, r.Old, r.New)
}

// history is one of random changes of a few resources.
type history struct {
	rand    *rand.Rand
	byState bool
	states  map[tracbus.Resource]tracbus.Fields
}

// step makes a change, which is often none.
func (h *history) step(t *testing.T, tx *tracbus.ModelTransaction) error {
	id := 1 + h.rand.IntN(6)
	r := tasks.Of(fmt.Sprint("t", id))
	ticket := h.rand.IntN(2) == 0
	if ticket {
		r = tracbus.TicketResource(int64(id))
	}
	before, exists := h.states[r]
	after := maps.Clone(before)
	if after == nil {
		after = tracbus.Fields{"summary": r.String(), "=odd": "x"}
	}
	for range h.rand.IntN(4) {
		name := []string{"owner", "done", "hours", "due", "=odd"}[h.rand.IntN(5)]
		values := map[string][]any{
			"owner": {"jim", "joe", "", nil}, "done": {true, false}, "hours": {1, 2.5, nil},
			"due": {time.Unix(1, 0).UTC(), time.Unix(2, 5000).UTC(), nil}, "=odd": {"a", "b", "c"},
		}[name]
		if n := h.rand.IntN(len(values) + 1); n < len(values) {
			after[name] = values[n]
		} else if !ticket || name != "=odd" {
			delete(after, name)
		}
	}
	gone := exists && h.rand.IntN(8) == 0
	comment := []string{"", "", "", "a comment"}[h.rand.IntN(4)]
	c := tracbus.Change{Comment: comment}
	if gone {
		delete(h.states, r)
		after = before
	} else {
		h.states[r] = after
	}
	if h.byState {
		s := tracbus.State{Of: r, Values: after, Change: c, Deleted: gone}
		if gone && h.rand.IntN(2) == 0 {
			s.Values = nil
		}
		return tx.Record(testkit.Within(t), s)
	}
	if gone {
		h.rand.IntN(2) // in step with the other
	}
	fresh, old := tracbus.Diff(before, after)
	var e tracbus.Event
	switch {
	case gone && ticket:
		e = tracbus.TicketDeleted{Change: c, ID: int64(id), Values: after}
	case gone:
		e = tracbus.ResourceDeleted{Change: c, Of: r, Values: after}
	case !exists && ticket:
		e = tracbus.TicketCreated{Change: c, ID: int64(id), Values: after}
	case !exists:
		e = tracbus.ResourceCreated{Change: c, Of: r, Values: after}
	case len(fresh)+len(old) == 0 && comment == "":
		return nil
	case ticket:
		for name := range old {
			if _, stays := fresh[name]; !stays {
				fresh[name] = ""
			}
		}
		e = tracbus.TicketChanged{Change: c, ID: int64(id), Values: after, New: fresh, Old: old}
	default:
		e = tracbus.ResourceChanged{Change: c, Of: r, Values: after, New: fresh, Old: old}
	}
	return tx.Record(testkit.Within(t), e)
}

// TestUnseenStates: what is told of a resource that the journal knows nothing of, or not all.
func TestUnseenStates(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		d := desk.Seat(t, s, s.DSN(s.Name()), withTasks())
		record := func(some ...tracbus.State) (events []tracbus.Event) {
			t.Helper()
			d.ForgetHeard()
			tid, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
				for _, state := range some {
					require.NoError(t, tx.Record(testkit.Within(t), state))
				}
				return nil
			})
			require.NoError(t, err)
			require.NoError(t, d.Wait(testkit.Within(t), tid))
			events, _ = d.Heard()
			assert.Equal(t, len(events) > 0, tid > 0)
			return events
		}
		f := func(kv ...any) tracbus.Fields {
			all := tracbus.Fields{}
			for i := 0; i < len(kv); i += 2 {
				all[kv[i].(string)] = kv[i+1]
			}
			return all
		}
		a := tasks.Of("a")

		e := record(tracbus.State{Of: a, Values: f("x", "1")})
		require.Len(t, e, 1)
		assert.Equal(t, f("x", "1"), e[0].(tracbus.ResourceCreated).Values)
		assert.Empty(t, record(tracbus.State{Of: a, Values: f("x", "1")}), "nothing differs")

		e = record(tracbus.State{Of: tasks.Of("old"), Values: f("x", "1", "y", nil), Unseen: tracbus.KindChanged})
		require.Len(t, e, 1)
		changed := e[0].(tracbus.ResourceChanged)
		assert.True(t, changed.Absent.Has(tracbus.AttrOld))
		assert.Equal(t, f("x", "1", "y", nil), changed.New)
		assert.Equal(t, f("x", nil, "y", nil), changed.Old)
		e = record(tracbus.State{Of: tasks.Of("old"), Values: f("x", "2", "y", nil)})
		changed = e[0].(tracbus.ResourceChanged)
		assert.False(t, changed.Absent.Has(tracbus.AttrOld), "from now on it is known")
		assert.Equal(t, f("x", "1"), changed.Old)

		e = record(tracbus.State{Of: tracbus.TicketResource(5), Values: f("status", "new"), Unseen: tracbus.KindChanged})
		assert.Equal(t, f("status", nil), e[0].(tracbus.TicketChanged).Old)

		// A change of which only a part was recorded.
		part, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			return tx.Record(testkit.Within(t), tracbus.ResourceChanged{Of: tasks.Of("part"), New: f("x", "2"), Old: f("x", "1")})
		})
		require.NoError(t, err)
		require.NoError(t, d.Wait(testkit.Within(t), part))
		e = record(tracbus.State{Of: tasks.Of("part"), Values: f("x", "3", "y", "1")})
		changed = e[0].(tracbus.ResourceChanged)
		assert.Equal(t, f("x", "2", "y", nil), changed.Old)
		assert.True(t, changed.Absent.Has(tracbus.AttrOld))

		assert.IsType(t, tracbus.ResourceDeleted{}, record(tracbus.State{Of: a, Deleted: true})[0])
		assert.Empty(t, record(tracbus.State{Of: a, Deleted: true}), "it is gone already")
		assert.IsType(t, tracbus.ResourceCreated{}, record(tracbus.State{Of: a, Values: f("x", "1")})[0])
		assert.Empty(t, record(tracbus.State{Of: tasks.Of("new"), Values: f("x", "1")}, tracbus.State{Of: tasks.Of("new"), Deleted: true}))

		// What the transaction has recorded so far counts, also behind what is no state.
		many := []tracbus.State{{Of: a, Deleted: true}, {Of: a, Values: f("x", "2")}, {Of: a, Deleted: true}, {Of: a, Deleted: true}, {Of: a, Values: f("x", "3")}}
		e = record(many...)
		require.Len(t, e, 2)
		assert.IsType(t, tracbus.ResourceDeleted{}, e[0])
		assert.Equal(t, f("x", "3"), e[1].(tracbus.ResourceCreated).Values)
		d.ForgetHeard()
		commented, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			require.NoError(t, tx.Record(testkit.Within(t), tracbus.State{Of: tracbus.TicketResource(5), Values: f("status", "closed")}))
			require.NoError(t, tx.Record(testkit.Within(t), tracbus.TicketCommentEdited{ID: 5, CommentTime: time.Unix(1, 0), OldComment: "x"}))
			return tx.Record(testkit.Within(t), tracbus.State{Of: tracbus.TicketResource(5), Values: f("status", "closed")})
		})
		require.NoError(t, err)
		require.NoError(t, d.Wait(testkit.Within(t), commented))
		e, _ = d.Heard()
		assert.Len(t, e, 2, "%s", desk.Lines(e))

		// Two changes of which the first has unknown old values are one that has them.
		e = record(tracbus.State{Of: tasks.Of("older"), Values: f("x", "1"), Unseen: tracbus.KindChanged}, tracbus.State{Of: tasks.Of("older"), Values: f("x", nil)})
		require.Len(t, e, 1)
		changed = e[0].(tracbus.ResourceChanged)
		assert.True(t, changed.Absent.Has(tracbus.AttrOld))
		assert.Equal(t, f("x", nil), changed.New)

		// Once changes were pruned, a resource may be older.
		_, err = d.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 1})
		require.NoError(t, err)
		assert.IsType(t, tracbus.ResourceChanged{}, record(tracbus.State{Of: tasks.Of("another"), Values: f("x", "1")})[0])
		assert.IsType(t, tracbus.ResourceCreated{}, record(tracbus.State{Of: tasks.Of("third"), Values: f("x", "1"), Unseen: tracbus.KindCreated})[0])

		for why, state := range map[string]tracbus.State{
			`realm "wiki": expected one of Resources or Tickets`: {Of: tracbus.Resource{Realm: tracbus.RealmWiki, ID: "A"}},
			`unseen "gone": expected "created" or "changed"`:     {Of: a, Unseen: "gone"},
			`expected a number from 1`:                           {Of: tracbus.Resource{Realm: tracbus.RealmTicket, ID: "x"}},
			`expected an id of 1 to 1000 bytes`:                  {Of: tasks.Of(strings.Repeat("x", 1001))},
			`x`:                                                  {Of: a, Values: f("x", struct{}{})},
		} {
			_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error { return tx.Record(testkit.Within(t), state) })
			assert.ErrorContains(t, err, why)
		}
	})
}

// TestCommitWithStates: one call commits an application's transaction, and tells what became different
// by it. Nothing that is no event and no state is taken.
func TestCommitWithStates(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		d := desk.Seat(t, s, s.DSN(s.Name()), withTasks())
		commit := func(changes ...tracbus.Told) (events []tracbus.Event, err error) {
			t.Helper()
			d.ForgetHeard()
			q, end, rollback := begin(t, d, s.Dialect)
			tid, err := d.CommitWith(testkit.Within(t), q, desk.Joe, func() error { end(); return nil }, changes...)
			if err != nil {
				rollback()
				return nil, err
			}
			require.NoError(t, d.Wait(testkit.Within(t), tid))
			events, _ = d.Heard()
			return events, nil
		}
		a := tracbus.State{Of: tasks.Of("a"), Values: tracbus.Fields{"x": "1"}}
		events, err := commit(a, desk.Remark(1, "beside it"))
		require.NoError(t, err)
		require.Len(t, events, 2)
		assert.IsType(t, tracbus.ResourceCreated{}, events[0])

		a.Values = tracbus.Fields{"x": "2"}
		events, err = commit(a)
		require.NoError(t, err)
		require.Len(t, events, 1)
		assert.Equal(t, tracbus.Fields{"x": "1"}, events[0].(tracbus.ResourceChanged).Old)

		events, err = commit(a) // nothing differs
		require.NoError(t, err)
		assert.Empty(t, events)

		for why, bad := range map[string]tracbus.Told{
			"expected an event, got nil":                     nil,
			"expected an event or a State, got *tracbus.Sta": &a,
			"expected a value of type tracbus.TicketDeleted": &tracbus.TicketDeleted{ID: 1},
		} {
			_, err = commit(bad)
			require.ErrorIs(t, err, tracbus.ErrNotCommitted, why)
			assert.ErrorContains(t, err, why)
		}
	})
}

// TestStateIsTheLast: the state that a change is told from is the one that was committed last,
// also in a transaction that began before that, or the database's word says why that cannot be.
func TestStateIsTheLast(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		if s.Dialect == "sqlite" {
			return // there is one writer at a time, from its BEGIN on
		}
		d := desk.Seat(t, s, s.DSN(s.Name()), withTasks())
		set := func(x string) {
			t.Helper()
			_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
				return tx.Record(testkit.Within(t), tracbus.State{Of: tasks.Of("a"), Values: tracbus.Fields{"x": x}})
			})
			require.NoError(t, err)
		}
		for _, of := range []struct {
			level sql.IsolationLevel
			alone bool // no other connection of the pool is free
		}{{sql.LevelReadCommitted, false}, {sql.LevelRepeatableRead, false}, {sql.LevelReadCommitted, true}, {sql.LevelRepeatableRead, true}} {
			level := of.level
			set("1")
			own, err := d.DB.BeginTx(testkit.Within(t), &sql.TxOptions{Isolation: level})
			require.NoError(t, err)
			defer own.Rollback()
			var n int
			require.NoError(t, own.QueryRowContext(testkit.Within(t), "SELECT count(*) FROM journal_change").Scan(&n))
			set("2")
			d.ForgetHeard()
			if of.alone {
				d.DB.SetMaxOpenConns(1)
			}
			tx, err := d.Join(own)
			require.NoError(t, err)
			require.NoError(t, tx.Prepare(desk.Joe, ""))
			err = tx.Record(testkit.Within(t), tracbus.State{Of: tasks.Of("a"), Values: tracbus.Fields{"x": "3"}})
			d.DB.SetMaxOpenConns(0)
			if level == sql.LevelRepeatableRead && s.Dialect == "postgresql" {
				assert.ErrorContains(t, err, `isolation level is "repeatable read"`)
				require.NoError(t, own.Rollback())
				continue
			}
			require.NoError(t, err)
			tid, err := tx.Flush(testkit.Within(t))
			require.NoError(t, err)
			require.NoError(t, own.Commit())
			tx.Notify()
			require.NoError(t, d.Wait(testkit.Within(t), tid))
			all, _ := d.Heard()
			i := slices.IndexFunc(all, func(e tracbus.Event) bool { return e.About().TID == tid })
			require.GreaterOrEqual(t, i, 0)
			assert.Equal(t, tracbus.Fields{"x": "2"}, all[i].(tracbus.ResourceChanged).Old)
		}
	})
}
