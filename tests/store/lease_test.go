package store_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestLeaseTaken: who may take a lease when.
func TestLeaseTaken(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		st, db := open(t, s)
		require.NoError(t, st.AddConsumer(ctx, "a", store.Place{}))
		last := int64(0)
		// take takes it as somebody who saw it as it stands, and reads the outcome.
		take := func(seen progress.Consumer, holder string, lease time.Duration, anyway, want bool, why string) {
			t.Helper()
			before := find(t, st, "a")
			epoch, taken, err := st.AcquireLease(ctx, seen, holder, lease, anyway)
			require.NoError(t, err, why)
			assert.Equal(t, want, taken, why)
			now := find(t, st, "a")
			if !taken {
				assert.Equal(t, timeless(before), timeless(now), why)
				return
			}
			assert.Greater(t, epoch, last, why)
			last = epoch
			assert.Equal(t, []any{epoch, holder}, []any{now.Token, now.Holder}, why)
			assert.Equal(t, before.Cursor, now.Cursor)
		}
		free := find(t, st, "a")
		take(free, "one", time.Hour, false, true, "it is free")
		take(free, "two", time.Hour, false, false, "it was seen free, and is held")
		take(free, "two", time.Hour, true, false, "it was seen otherwise than it is")
		held := find(t, st, "a")
		take(held, "two", time.Hour, false, false, "it is held")
		take(held, "one", time.Hour, false, true, "it is the holder's own")
		take(held, "one", time.Hour, false, false, "it is the holder's own, and another of that name was faster")
		held = find(t, st, "a")
		is(t, true)(st.RenewLease(ctx, "a", held.Token, time.Hour))
		take(held, "two", time.Hour, true, false, "the holder has spoken since")
		held = find(t, st, "a")
		held.Token--
		take(held, "two", time.Hour, true, false, "it was seen in another history")
		take(find(t, st, "a"), "two", time.Hour, true, true, "anyway")

		// The database's clock says what has expired.
		is(t, true)(st.RenewLease(ctx, "a", last, -time.Millisecond))
		expired := find(t, st, "a")
		assert.LessOrEqual(t, expired.Left, time.Duration(0))
		is(t, true)(st.RenewLease(ctx, "a", last, time.Hour))
		take(expired, "one", time.Hour, false, false, "it had expired, and was renewed")
		is(t, true)(st.RenewLease(ctx, "a", last, -time.Millisecond))
		take(find(t, st, "a"), "one", -time.Millisecond, false, true, "it has expired")
		take(find(t, st, "a"), "two", time.Hour, false, true, "it was taken for no time")

		require.NoError(t, st.ReleaseLease(ctx, "a", last-1))
		take(find(t, st, "a"), "one", time.Hour, false, false, "who was deposed gave it back")
		require.NoError(t, st.ReleaseLease(ctx, "a", last))
		take(find(t, st, "a"), "one", time.Hour, false, true, "it was given back")

		_, taken, err := st.AcquireLease(ctx, find(t, st, "a"), "", time.Hour, true)
		assert.ErrorContains(t, err, "without a holder's name")
		assert.False(t, taken)

		// An epoch in the future, from a clock that was put back, rises too.
		_, err = db.Exec("UPDATE journal_consumer SET token = 9000000000000000")
		require.NoError(t, err)
		take(find(t, st, "a"), "one", time.Hour, false, true, "an epoch of the future")
		assert.EqualValues(t, 9000000000000001, last)
	})
}

// TestLeaseEpochPutBack: a database that was put back to an older copy hands out
// no epoch again.
func TestLeaseEpochPutBack(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		st, db := open(t, s)
		require.NoError(t, st.AddConsumer(t.Context(), "a", store.Place{}))
		last := takeOnce(t, st, "a", "one")
		for _, copied := range []int64{0, 1, last - 1} {
			for now := last; now <= last; { // the clock ticks
				require.NoError(t, db.QueryRow(st.SQL("SELECT {NOW}")).Scan(&now))
				now /= 1000
			}
			_, err := db.Exec(st.SQL("UPDATE journal_consumer SET holder = '', token = ?, heartbeat = 0"), copied)
			require.NoError(t, err)
			is(t, false)(st.MoveCursor(t.Context(), "a", last, at(0, ""), at(1, "a"), time.Hour))
			epoch := takeOnce(t, st, "a", "two")
			assert.Greater(t, epoch, last, "the copy had epoch %d", copied)
			is(t, false)(st.MoveCursor(t.Context(), "a", last, at(0, ""), at(1, "a"), time.Hour))
			last = epoch
		}
	})
}

// TestLeaseOneWins: of many who take a lease at once, one does.
func TestLeaseOneWins(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		st, _ := open(t, s)
		require.NoError(t, st.AddConsumer(t.Context(), "a", store.Place{}))
		for range 10 {
			seen := find(t, st, "a")
			var won atomic.Int32
			var epoch atomic.Int64
			var all sync.WaitGroup
			for i := range 6 {
				all.Go(func() {
					e, taken, err := st.AcquireLease(t.Context(), seen, "abcdef"[i:i+1], time.Hour, i%2 == 0)
					assert.NoError(t, err)
					if taken {
						won.Add(1)
						epoch.Store(e)
					}
				})
			}
			all.Wait()
			assert.EqualValues(t, 1, won.Load())
			assert.Equal(t, find(t, st, "a").Token, epoch.Load())
			require.NoError(t, st.ReleaseLease(t.Context(), "a", epoch.Load()))
		}
	})
}

// TestLeaseDeposed: who was deposed, or gave the lease back, changes nothing.
func TestLeaseDeposed(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		st, db := open(t, s)
		require.NoError(t, st.AddConsumer(ctx, "a", store.Place{TID: 1, CommitID: "a"}))
		old := takeOnce(t, st, "a", "one")
		is(t, true)(st.PutDeadLetter(ctx, "a", old, at(1, "a"), at(2, "b"), time.Hour, progress.DeadLetter{TID: 2, CommitID: "b", Realm: "wiki", ID: "x", Error: "no"}))
		epoch, taken, err := st.AcquireLease(ctx, find(t, st, "a"), "two", time.Hour, true)
		require.NoError(t, err)
		require.True(t, taken)
		is(t, true)(st.MoveCursor(ctx, "a", epoch, at(2, "b"), at(5, "e"), time.Hour))
		before := timeless(find(t, st, "a"))
		tries := func(epoch int64) {
			t.Helper()
			is(t, false)(st.RenewLease(ctx, "a", epoch, time.Hour))
			for _, from := range []progress.Cursor{at(2, "b"), before.Cursor} {
				for _, to := range []progress.Cursor{at(1, "a"), at(2, "b"), at(6, "f"), before.Cursor} {
					is(t, false)(st.MoveCursor(ctx, "a", epoch, from, to, time.Hour))
					is(t, false)(st.PutDeadLetter(ctx, "a", epoch, from, to, time.Hour, progress.DeadLetter{TID: 3, CommitID: "c", Realm: "wiki", ID: "y"}))
					is(t, false)(st.PutDeadLetter(ctx, "a", epoch, from, to, time.Hour, progress.DeadLetter{TID: 2, CommitID: "b", Realm: "wiki", ID: "x"}))
				}
			}
			is(t, false)(st.NoteGeneration(ctx, "a", epoch, 9))
			assert.NoError(t, st.NoteFailure(ctx, "a", epoch, "late"))
			assert.NoError(t, st.ReleaseLease(ctx, "a", epoch))
			assert.NoError(t, st.ForgetDeadLetter(ctx, "a", epoch, 2, 0))
			asides, err := st.DeadLetters(ctx, "a", false, 0, -1, 10)
			require.NoError(t, err)
			if assert.Len(t, asides, 1) {
				assert.Equal(t, []any{int64(2), 1, "no"}, []any{asides[0].TID, asides[0].Attempts, asides[0].Error})
			}
		}
		tries(old)
		tries(0)
		tries(epoch + 1)
		assert.Equal(t, before, timeless(find(t, st, "a")))
		require.NoError(t, st.ReleaseLease(ctx, "a", epoch))
		before = timeless(find(t, st, "a"))
		tries(epoch)
		assert.Equal(t, before, timeless(find(t, st, "a")))

		// The cursor moves from where it was left only.
		epoch = takeOnce(t, st, "a", "two")
		for _, from := range []progress.Cursor{at(4, "e"), at(6, "e"), at(5, "E"), at(5, "e "), at(5, ""), within(5, "e", 0), within(5, "e", -1)} {
			is(t, false)(st.MoveCursor(ctx, "a", epoch, from, at(7, "g"), time.Hour))
			is(t, false)(st.PutDeadLetter(ctx, "a", epoch, from, at(7, "g"), time.Hour, progress.DeadLetter{TID: 7, CommitID: "g", Realm: "wiki", ID: "x"}))
		}
		is(t, true)(st.MoveCursor(ctx, "a", epoch, at(5, "e"), within(6, "f", 2), time.Hour))
		for _, from := range []progress.Cursor{at(6, "f"), within(6, "f", 1), within(6, "f", 3), at(5, "e")} {
			is(t, false)(st.MoveCursor(ctx, "a", epoch, from, at(7, "g"), time.Hour))
		}
		is(t, true)(st.MoveCursor(ctx, "a", epoch, within(6, "f", 2), at(6, "f"), time.Hour))
		assert.Equal(t, 1, one[int](t, db, "SELECT count(*) FROM journal_dead_letter"))

		// To move nowhere renews.
		is(t, true)(st.RenewLease(ctx, "a", epoch, -time.Hour))
		is(t, true)(st.MoveCursor(ctx, "a", epoch, at(6, "f"), at(6, "f"), time.Hour))
		assert.Positive(t, find(t, st, "a").Left)
	})
}

// TestLeaseFence: many who depose each other in the middle of their work move the
// cursor step by step, none of them twice.
func TestLeaseFence(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		st, db := open(t, s)
		require.NoError(t, st.AddConsumer(ctx, "a", store.Place{}))
		step := func(c progress.Cursor) progress.Cursor { return at(c.TID+1, "m") }
		var moved, aside atomic.Int64
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				for range 20 {
					seen, _, err := st.FindConsumer(ctx, "a")
					assert.NoError(t, err)
					epoch, taken, err := st.AcquireLease(ctx, seen, "abcd"[i:i+1], time.Hour, true)
					assert.NoError(t, err)
					cursor := seen.Cursor
					for n := 0; taken && n < 3; n++ {
						next := step(cursor)
						if n == 1 {
							taken, err = st.PutDeadLetter(ctx, "a", epoch, cursor, next, time.Hour, progress.DeadLetter{TID: next.TID, CommitID: "m", Realm: "wiki", ID: "x"})
						} else {
							taken, err = st.MoveCursor(ctx, "a", epoch, cursor, next, time.Hour)
						}
						assert.NoError(t, err)
						if taken {
							cursor = next
							moved.Add(1)
							if n == 1 {
								aside.Add(1)
							}
						}
					}
				}
			})
		}
		all.Wait()
		assert.Positive(t, moved.Load())
		assert.Equal(t, moved.Load(), find(t, st, "a").Cursor.TID)
		assert.Equal(t, aside.Load(), one[int64](t, db, "SELECT count(*) FROM journal_dead_letter"))
		assert.Equal(t, aside.Load(), one[int64](t, db, "SELECT coalesce(sum(attempts), 0) FROM journal_dead_letter"))
	})
}

// TestMoveManyCursors moves cursors of many kinds in one statement: each that is its
// holder's, from where it was left to a place of its own, and no other.
func TestMoveManyCursors(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		var updates atomic.Int64
		st, err := openTables(ctx, s.Hooked(t, s.DSN(s.Name()), func(_ context.Context, query string) error {
			if strings.HasPrefix(query, "UPDATE") {
				updates.Add(1)
			}
			return nil
		}), store.Config{Dialect: s.Dialect, Realms: twoRealms})
		require.NoError(t, err)
		part := func(tid int64, mark string, seq int) progress.Cursor {
			c := at(tid, mark)
			c.Seq, c.Partial = seq, true
			return c
		}
		const odd = `a"\{}, NULL'` // commit ids are not of this library's making alone
		kinds := []struct{ from, to progress.Cursor }{
			{at(0, ""), at(1, "a")},
			{at(0, ""), part(1, "a", 3)},
			{at(5, "e"), at(7, odd)},
			{at(5, "e"), at(8, "h")},
			{part(5, "e", 2), at(5, "e")},
			{part(5, "e", 3), part(5, "e", 4)},
			{at(7, odd), at(9, "i")},
		}
		var moves []progress.Move
		want := map[string]progress.Cursor{}
		for i := range 40 {
			name, k := fmt.Sprintf("n%d", i), kinds[i%len(kinds)]
			require.NoError(t, st.AddConsumer(ctx, name, store.Place{}))
			token := takeOnce(t, st, name, "one")
			is(t, true)(st.MoveCursor(ctx, name, token, at(0, ""), k.from, time.Minute))
			moves, want[name] = append(moves, progress.Move{Claim: progress.Claim{Name: name, Token: token}, From: k.from, To: k.to}), k.to
		}
		spoil := func(i int, spoil func(m *progress.Move)) {
			want[moves[i].Name] = moves[i].From
			spoil(&moves[i])
		}
		spoil(3, func(m *progress.Move) { m.Token-- })
		spoil(9, func(m *progress.Move) { m.From.CommitID = "of another history" })
		spoil(11, func(m *progress.Move) { m.From.Seq++ })
		spoil(16, func(m *progress.Move) { require.NoError(t, st.ReleaseLease(ctx, m.Name, m.Token)) })
		spoil(24, func(m *progress.Move) { m.Name = "nobody" })
		heartbeats := map[string]int64{}
		for name := range want {
			heartbeats[name] = find(t, st, name).Heartbeat
		}

		before := updates.Load()
		moved, err := st.MoveCursors(ctx, time.Hour, moves)
		require.NoError(t, err)
		assert.EqualValues(t, 35, moved)
		assert.EqualValues(t, 1, updates.Load()-before, "statements that move")
		for i, m := range moves {
			name := fmt.Sprintf("n%d", i)
			row := find(t, st, name)
			assert.Equal(t, want[name], row.Cursor, name)
			lost := want[name] == m.From || i == 9 || i == 11
			assert.Equal(t, !lost, row.Heartbeat > heartbeats[name], name)
			assert.Equal(t, !lost, row.Left > time.Minute, name)
		}
		moved, err = st.MoveCursors(ctx, time.Hour, moves)
		require.NoError(t, err)
		assert.Zero(t, moved, "they are elsewhere by now")
	})
}
