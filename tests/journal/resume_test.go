package journal_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// testResume goes on behind every change there is, within transactions too.
func testResume(t *testing.T, s *testdatabase.Server, dsn string) {
	d, other := desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{BatchSize: 3}}), desk.Seat(t, s, dsn, desk.Config{})
	resume := func(seen tracbus.Change) (read []tracbus.Event, err error) {
		for e, err := range d.Resume(testkit.Within(t), seen) {
			if err != nil {
				return read, err
			}
			read = append(read, e)
		}
		return read, nil
	}
	for i := range 8 {
		other.Say(t, fmt.Sprint("other ", i), 1)
		tid, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
			for _, e := range []tracbus.Event{
				desk.Remark(1, fmt.Sprint(i)), pageWritten(fmt.Sprint("Page", i)), desk.Remark(2, fmt.Sprint(i)),
			} {
				if err := tx.Record(testkit.Within(t), e); err != nil {
					return err
				}
			}
			return nil
		})
		require.NoError(t, err)
		require.NoError(t, d.Wait(testkit.Within(t), tid))
	}
	all, _ := d.Heard()
	require.Len(t, all, 8*4)
	read, err := resume(tracbus.Change{})
	require.NoError(t, err)
	assert.Equal(t, all, read)
	for i, e := range all {
		seen := e.About()
		want := all[i+1:]
		read, err := resume(seen)
		require.NoError(t, err)
		require.Len(t, read, len(want), "behind %s", desk.Line(e))
		for j := range want {
			require.Equal(t, want[j], read[j], "behind %s", desk.Line(e))
		}
	}
	last := all[len(all)-1].About()
	middle := all[13].About() // of three
	require.Equal(t, 0, middle.Seq)
	read, err = resume(tracbus.Change{TID: middle.TID, Seq: -1, CommitID: middle.CommitID})
	require.NoError(t, err)
	assert.Equal(t, all[16:], read, "behind the transaction")

	for what, seen := range map[string]tracbus.Change{
		"another mark":                    {TID: middle.TID, Seq: 0, CommitID: last.CommitID},
		"another mark, all of it":         {TID: middle.TID, Seq: -1, CommitID: last.CommitID},
		"a tid that was never taken":      {TID: last.TID + 5, Seq: 0, CommitID: last.CommitID},
		"the same, all of it":             {TID: last.TID + 5, Seq: -1, CommitID: last.CommitID},
		"another mark of the last change": {TID: last.TID, Seq: last.Seq, CommitID: middle.CommitID},
	} {
		read, err := resume(seen)
		assert.ErrorIs(t, err, tracbus.ErrRewound, what)
		assert.Empty(t, read, what)
	}
	read, err = resume(tracbus.Change{TID: middle.TID})
	require.NoError(t, err)
	assert.Equal(t, all[14:], read, "without a mark")

	// The database cannot tell any more that a change is decided: this process goes on
	// behind it all the same, and behind whatever it has read before.
	if s.Dialect == "postgresql" {
		q, commit, _ := begin(t, other, s.Dialect)
		key := lockKey(t, d)
		_, err := q.ExecContext(testkit.Within(t), "SELECT pg_advisory_xact_lock_shared($1)", key<<48|middle.TID-1)
		require.NoError(t, err)
		read, err := resume(middle)
		require.NoError(t, err)
		assert.Equal(t, all[14:], read, "the rest of its transaction, and what this process has read")
		commit()
	}

	n, err := d.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 4})
	require.NoError(t, err)
	require.EqualValues(t, 12, n)
	floor := all[23].About() // the last that is pruned
	for what, seen := range map[string]tracbus.Change{
		"long pruned":                {TID: middle.TID, Seq: 0, CommitID: middle.CommitID},
		"long pruned, all of it":     {TID: middle.TID, Seq: -1, CommitID: middle.CommitID},
		"the last pruned, a part":    {TID: floor.TID, Seq: 0, CommitID: floor.CommitID},
		"the beginning":              {},
		"long pruned, without mark":  {TID: middle.TID},
		"the last, without its mark": {TID: floor.TID, Seq: 1},
	} {
		_, err := resume(seen)
		assert.ErrorIs(t, err, tracbus.ErrPruned, what)
	}
	read, err = resume(tracbus.Change{TID: floor.TID, Seq: -1, CommitID: floor.CommitID})
	require.NoError(t, err, "all of the last that is pruned was handled")
	assert.Equal(t, all[24:], read)
}

// pageWritten is a page that the application has written.
func pageWritten(name string) tracbus.WikiPageCreated {
	return tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: name, Version: 1, Text: "text of " + name}}
}

// lockKey reads the class of the locks by which writers say that they have not
// ended.
func lockKey(t *testing.T, d *desk.Desk) (class int64) {
	t.Helper()
	require.NoError(t, d.DB.QueryRowContext(testkit.Within(t), "SELECT lock_class FROM journal_facts").Scan(&class))
	return class
}
