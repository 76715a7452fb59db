package store_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// asides reads all that a name has set aside.
func asides(t *testing.T, st tables, name string, onlyRetry bool) []progress.DeadLetter {
	t.Helper()
	all, err := st.DeadLetters(t.Context(), name, onlyRetry, 0, -1, 100)
	require.NoError(t, err)
	return all
}

// TestAside: changes are set aside, asked for, tried again, and forgotten.
func TestAside(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		st, _ := open(t, s)
		var want []progress.DeadLetter
		epochs := map[string]int64{}
		for _, name := range []string{"a", "b"} {
			require.NoError(t, st.AddConsumer(ctx, name, store.Place{}))
			epochs[name] = takeOnce(t, st, name, "one")
			want = nil
			cursor := at(0, "")
			for tid := int64(1); tid <= 3; tid++ {
				for seq := range 2 {
					a := progress.DeadLetter{TID: tid, Seq: seq, CommitID: "m", Realm: "wiki", ID: "x", Error: "no", Attempts: 5, Since: 77}
					next := at(tid, "m")
					if seq == 0 {
						next = within(tid, "m", 0)
					}
					is(t, true)(st.PutDeadLetter(ctx, name, epochs[name], cursor, next, time.Hour, a))
					cursor = next
					want = append(want, a)
				}
			}
		}
		assert.Equal(t, want, asides(t, st, "a", false))
		assert.Empty(t, asides(t, st, "a", true))
		assert.Equal(t, 6, find(t, st, "a").DeadLetters)
		assert.Equal(t, at(3, "m"), find(t, st, "a").Cursor)

		// By pages.
		var paged []progress.DeadLetter
		tid, seq := int64(0), -1
		for {
			page, err := st.DeadLetters(ctx, "a", false, tid, seq, 4)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			paged = append(paged, page...)
			tid, seq = page[len(page)-1].TID, page[len(page)-1].Seq
		}
		assert.Equal(t, want, paged)

		retry := func(want int64, which ...progress.DeadLetter) {
			t.Helper()
			n, err := st.RedeliverDeadLetters(ctx, "a", which...)
			assert.NoError(t, err)
			assert.Equal(t, want, n)
		}
		retry(2, want[1], progress.DeadLetter{TID: 3, Seq: 0})
		retry(0, want[1], progress.DeadLetter{TID: 3, Seq: 0})
		retry(0, progress.DeadLetter{TID: 9}, progress.DeadLetter{TID: 1, Seq: 0, CommitID: "of another history"})
		want[1].Redeliver, want[4].Redeliver = true, true
		assert.Equal(t, want, asides(t, st, "a", false))
		assert.Equal(t, []progress.DeadLetter{want[1], want[4]}, asides(t, st, "a", true))

		// It fails again: nothing moves, and it is not asked for any more.
		end := at(3, "m")
		again := want[1]
		again.Error, again.Attempts, again.Since = "no again", 99, 99
		is(t, true)(st.PutDeadLetter(ctx, "a", epochs["a"], end, end, time.Hour, again))
		want[1].Error, want[1].Attempts, want[1].Redeliver = "no again", 6, false
		assert.Equal(t, want, asides(t, st, "a", false))
		// It works.
		require.NoError(t, st.ForgetDeadLetter(ctx, "a", epochs["a"], 3, 0))
		require.NoError(t, st.ForgetDeadLetter(ctx, "a", epochs["a"], 3, 0))
		want = append(want[:4:4], want[5])
		assert.Equal(t, want, asides(t, st, "a", false))
		assert.Equal(t, end, find(t, st, "a").Cursor)
		retry(5)
		assert.Len(t, asides(t, st, "a", true), 5)

		// The same tid in another history is another change.
		other := progress.DeadLetter{TID: 1, Seq: 0, CommitID: "M", Realm: "ticket", ID: "y", Error: "else", Attempts: 2, Since: 88}
		is(t, true)(st.PutDeadLetter(ctx, "a", epochs["a"], end, end, time.Hour, other))
		assert.Equal(t, other, asides(t, st, "a", false)[0])

		assert.Len(t, asides(t, st, "b", false), 6, "of another name")
		assert.Empty(t, asides(t, st, "b", true), "of another name")
		require.NoError(t, st.DropConsumer(ctx, "a"))
		assert.Empty(t, asides(t, st, "a", false))
		assert.Len(t, asides(t, st, "b", false), 6, "of another name")
	})
}

// TestAsideWhole: the cursor does not move past a change that could not be set
// aside.
func TestAsideWhole(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		st, db := open(t, s)
		require.NoError(t, st.AddConsumer(ctx, "a", store.Place{}))
		epoch := takeOnce(t, st, "a", "one")
		before := timeless(find(t, st, "a"))
		_, err := db.Exec("ALTER TABLE journal_dead_letter RENAME TO gone")
		require.NoError(t, err)
		moved, err := st.PutDeadLetter(ctx, "a", epoch, at(0, ""), at(1, "m"), time.Hour, progress.DeadLetter{TID: 1, CommitID: "m", Realm: "wiki", ID: "x"})
		assert.Error(t, err)
		assert.False(t, moved)
		assert.Error(t, st.ForgetDeadLetter(ctx, "a", epoch, 1, 0))
		_, err = db.Exec("ALTER TABLE gone RENAME TO journal_dead_letter")
		require.NoError(t, err)
		assert.Equal(t, before, timeless(find(t, st, "a")))
		is(t, true)(st.PutDeadLetter(ctx, "a", epoch, at(0, ""), at(1, "m"), time.Hour, progress.DeadLetter{TID: 1, CommitID: "m", Realm: "wiki", ID: "x"}))
	})
}

// TestOnceTexts: what people and listeners say comes back as it was, or as what a
// database can store of it; names are told apart byte by byte.
func TestOnceTexts(t *testing.T) {
	texts := []string{
		"'; DROP TABLE journal_consumer; --", `"; DROP TABLE journal_consumer; --`, "`", "\\", `\'`, "''", "%s %d {NOW} {journal_consumer} $1 ? :a", "/* */ -- #",
		"null", "NULL", "a\nb\tc\r\x1a", "äöü€😀", "\u2028\u200b\ufeff", " spaces ", "spaces", "SPACES", "$$", "0", "1 OR 1=1", strings.Repeat("x", 64),
	}
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		st, db := open(t, s)
		for i, text := range texts {
			require.NoError(t, st.AddConsumer(ctx, text, store.Place{TID: int64(i), CommitID: text}))
		}
		for i, text := range texts {
			epoch := takeOnce(t, st, text, text)
			from, to := at(int64(i), text), within(int64(i), text+".", 3)
			if len(text) == 64 { // all that a column takes
				to.CommitID = strings.Repeat("y", 64)
			}
			is(t, true)(st.PutDeadLetter(ctx, text, epoch, from, to, time.Hour, progress.DeadLetter{TID: 1, CommitID: text, Realm: text, ID: text, Error: text, Attempts: 1, Since: 5}))
			require.NoError(t, st.NoteFailure(ctx, text, epoch, text))
			want := progress.Consumer{Name: text, Cursor: to, Token: epoch, Heartbeat: 3, Holder: text, Generation: -1, Error: text, DeadLetters: 1}
			assert.Equal(t, want, timeless(find(t, st, text)))
			assert.Equal(t, []progress.DeadLetter{{TID: 1, CommitID: text, Realm: text, ID: text, Error: text, Attempts: 1, Since: 5}}, asides(t, st, text, false))
		}
		all, err := st.Consumers(ctx)
		require.NoError(t, err)
		assert.Len(t, all, len(texts))
		for i := 1; i < len(all); i++ {
			assert.Less(t, all[i-1].Name, all[i].Name)
		}
		for i, text := range texts {
			if i%2 == 0 {
				require.NoError(t, st.DropConsumer(ctx, text))
			}
		}
		assert.Equal(t, len(texts)/2, one[int](t, db, "SELECT count(*) FROM journal_consumer"))
		assert.Equal(t, len(texts)/2, one[int](t, db, "SELECT count(*) FROM journal_dead_letter"))

		require.NoError(t, st.AddConsumer(ctx, "a", store.Place{}))
		for odd, want := range map[string]string{
			"a\x00b":                         "a\uFFFDb",
			"\x00":                           "\uFFFD",
			"a\xff\xfe'b":                    "a\uFFFD'b",
			"\xc3":                           "\uFFFD",
			"\xed\xa0\x80":                   "\uFFFD",
			strings.Repeat("ä", 5000):        strings.Repeat("ä", 500),
			"x" + strings.Repeat("😀", 5000):  "x" + strings.Repeat("😀", 249),
			strings.Repeat("\x00\xff", 5000): strings.Repeat("\uFFFD", 333),
		} {
			epoch := takeOnce(t, st, "a", odd)
			require.NoError(t, st.NoteFailure(ctx, "a", epoch, odd))
			is(t, true)(st.PutDeadLetter(ctx, "a", epoch, at(0, ""), at(0, ""), time.Hour, progress.DeadLetter{TID: 1, CommitID: "m", Realm: "wiki", ID: "x", Error: odd}))
			o := find(t, st, "a")
			assert.Equal(t, want, o.Error)
			assert.Equal(t, want, asides(t, st, "a", false)[0].Error)
			assert.True(t, utf8.ValidString(o.Holder), "%q", o.Holder)
			assert.True(t, strings.HasPrefix(want, o.Holder) && (o.Holder == want || len(o.Holder) > 196 && len(o.Holder) <= 200), "holder %q of %q", o.Holder, odd)
			assert.Equal(t, epoch+1 <= takeOnce(t, st, "a", odd), true, "the holder is known again")
			require.NoError(t, st.ReleaseLease(ctx, "a", find(t, st, "a").Token))
		}
	})
}

// TestOnceFailing: since when a name fails is kept while it does, through
// holders.
func TestOnceFailing(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		st, db := open(t, s)
		require.NoError(t, st.AddConsumer(ctx, "a", store.Place{}))
		epoch := takeOnce(t, st, "a", "one")
		require.NoError(t, st.NoteFailure(ctx, "a", epoch, "first"))
		_, err := db.Exec("UPDATE journal_consumer SET failing = failing - 3600000000")
		require.NoError(t, err)
		require.NoError(t, st.NoteFailure(ctx, "a", epoch, "second"))
		require.NoError(t, st.ReleaseLease(ctx, "a", epoch))
		epoch = takeOnce(t, st, "a", "two")
		require.NoError(t, st.NoteFailure(ctx, "a", epoch, "third"))
		o := find(t, st, "a")
		assert.Equal(t, "third", o.Error)
		assert.GreaterOrEqual(t, o.Failing, time.Hour)
		assert.Less(t, o.Failing, 2*time.Hour)
		require.NoError(t, st.NoteFailure(ctx, "a", epoch, ""))
		o = find(t, st, "a")
		assert.Empty(t, o.Error)
		assert.Zero(t, o.Failing)
		require.NoError(t, st.NoteFailure(ctx, "a", epoch, "anew"))
		assert.Less(t, find(t, st, "a").Failing, 30*time.Minute)
	})
}
