package journal_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// testReadBefore compares Before with what Since yields, the other way round.
func testReadBefore(t *testing.T, s *testdatabase.Server, dsn string) {
	d := desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{BatchSize: 4}})
	before := func(tid int64) (read []tracbus.Event) {
		for e, err := range d.Before(testkit.Within(t), tid) {
			require.NoError(t, err)
			read = append(read, e)
		}
		return read
	}
	assert.Empty(t, before(0), "an empty journal")
	var tids []int64
	for i := range 14 {
		tids = append(tids, d.Say(t, fmt.Sprint(i), 1, int64(2+i%2)))
		if i%5 == 0 { // a gap between tids, where there are any
			_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error { return fmt.Errorf("not today") })
			require.ErrorIs(t, err, tracbus.ErrNotCommitted)
		}
	}
	since := func(after, before int64) (all []tracbus.Event) {
		for e, err := range d.Since(testkit.Within(t), after) {
			require.NoError(t, err)
			if e.About().TID < before {
				all = append(all, e)
			}
		}
		slices.Reverse(all)
		return all
	}
	const end = 1 << 47
	assert.Len(t, before(0), 28)
	assert.Equal(t, since(0, end), before(0), "from the end")
	assert.Equal(t, since(0, end), before(end), "from behind the end")
	for _, tid := range []int64{tids[0], tids[1], tids[7], tids[13]} {
		assert.Equal(t, since(0, tid), before(tid), "before tid %d", tid)
	}

	// A writer that takes its place late lowers, on PostgreSQL, what another asks
	// for; what was decided stays so.
	if s.Dialect == "postgresql" {
		var read []tracbus.Event
		var release func()
		for e, err := range d.Before(testkit.Within(t), 0) {
			require.NoError(t, err)
			if read = append(read, e); len(read) == 1 {
				var q tracbus.SQL
				q, release, _ = begin(t, d, s.Dialect)
				_, err := q.ExecContext(testkit.Within(t), "SELECT pg_advisory_xact_lock_shared($1)", lockKey(t, d)<<48|tids[2])
				require.NoError(t, err)
			}
		}
		release()
		assert.Equal(t, since(0, end), read, "with the bound lowered")
	}

	for e, err := range d.Before(testkit.Within(t), 0) { // leaving early leaves nothing behind
		require.NoError(t, err)
		assert.Equal(t, tids[13], e.About().TID)
		break
	}

	history := func(r tracbus.Resource, before int64) (all []tracbus.Event) {
		for e, err := range d.HistoryBefore(testkit.Within(t), r, before) {
			require.NoError(t, err)
			all = append(all, e)
		}
		return all
	}
	for _, id := range []int64{1, 2, 3, 4} {
		var want []tracbus.Event
		for e, err := range d.History(testkit.Within(t), tracbus.TicketResource(id)) {
			require.NoError(t, err)
			want = append(want, e)
		}
		slices.Reverse(want)
		assert.Equal(t, want, history(tracbus.TicketResource(id), 0), "ticket %d", id)
		assert.Len(t, want, map[int64]int{1: 14, 2: 7, 3: 7}[id])
		for _, e := range want {
			tid := e.About().TID
			i := slices.IndexFunc(want, func(e tracbus.Event) bool { return e.About().TID < tid })
			if i < 0 {
				i = len(want)
			}
			assert.ElementsMatch(t, want[i:], history(tracbus.TicketResource(id), tid), "ticket %d before tid %d", id, tid)
		}
	}
	for _, err := range d.HistoryBefore(testkit.Within(t), tracbus.Resource{Realm: "milestone", ID: "2"}, 0) {
		assert.EqualError(t, err, "history of milestone 2: the journal has no such realm: expected one of [ticket wiki]")
	}

	_, err := d.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 6})
	require.NoError(t, err)
	assert.Equal(t, since(tids[7], end), before(0), "what is pruned is not there")
	assert.Empty(t, before(tids[8]))

	// Nothing overtakes a transaction that is held open, here either.
	q, commit, _ := begin(t, d, s.Dialect)
	joined(t, d, q, "held")
	if s.Dialect == "postgresql" {
		d.Say(t, "behind", 5)
	}
	assert.Equal(t, tids[13], before(0)[0].About().TID)
	commit()
	if s.Dialect == "postgresql" {
		assert.Equal(t, []string{"behind", "held"}, desk.Comments(before(0)[:2]))
	} else {
		assert.Equal(t, []string{"held"}, desk.Comments(before(0)[:1]))
	}
}

// Changes that are too long to be read at once come all the same, and in their
// order.
func TestReadBeforeLongTexts(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
	long := strings.Repeat("long ", 1<<20)
	for i := range 5 {
		tid, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			return tx.Record(testkit.Within(t), desk.Remark(1, fmt.Sprint(i, long)))
		})
		require.NoError(t, err)
		require.NotZero(t, tid)
	}
	var got []string
	for e, err := range d.Before(testkit.Within(t), 0) {
		require.NoError(t, err)
		got = append(got, strings.Fields(e.About().Comment)[0])
	}
	assert.Equal(t, []string{"4long", "3long", "2long", "1long", "0long"}, got)
}

// A change that cannot be read is told where it stands.
func TestReadBeforeDamage(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
	for i := range 3 {
		d.Say(t, fmt.Sprint(i), 1)
	}
	_, err := d.DB.ExecContext(testkit.Within(t), "UPDATE journal_change SET document = 'no JSON' WHERE tid = 2")
	require.NoError(t, err)
	var got []string
	for e, err := range d.Before(testkit.Within(t), 0) {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, e.About().Comment)
	}
	require.Len(t, got, 2)
	assert.Equal(t, "2", got[0])
	assert.Contains(t, got[1], "tid 2, seq 0")
}
