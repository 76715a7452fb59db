package trac_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac"
)

// Trac takes its time before it waits for the ticket, and numbers comments by time: of two
// Tracs that comment at once, the later one may have the lower number.

// testANewCommentGetsAFreeNumber has the later of two changes have the lower number, by
// which Trac would give the next comment the number of the other.
func testANewCommentGetsAFreeNumber(t *testing.T, r *ticketRig) {
	for name, test := range map[string]struct {
		before sqlModel
		number string
	}{
		"the later comment has the lower number": {
			"UPDATE ticket_change SET oldvalue = CASE oldvalue WHEN '3' THEN '4' ELSE '3' END WHERE field = 'comment' AND oldvalue IN ('3', '4')", "5",
		},
		"a reply has the highest number":                 {"UPDATE ticket_change SET oldvalue = '3.17' WHERE field = 'comment' AND oldvalue = '3'", "18"},
		"the last change has no comment":                 {"DELETE FROM ticket_change WHERE field = 'comment' AND oldvalue = '4'", "5"},
		"the last has none, one before it a high number": {"UPDATE ticket_change SET oldvalue = CASE oldvalue WHEN '4' THEN NULL ELSE '1.17' END WHERE field = 'comment' AND oldvalue IN ('4', '1.2')", "18"},
	} {
		r.empty()
		for _, step := range commented() {
			r.save(step.author, step.models...)
		}
		r.save("sql", test.before)
		r.save("amy", trac.TicketEdit{ID: 1, Comment: "Five"})
		assert.Contains(t, r.rows(), "change 1 t6 amy comment: "+test.number+" > Five", name)
	}
}

// testTwoCommentsOfOneNumber edits and deletes changes that only their times tell apart.
func testTwoCommentsOfOneNumber(t *testing.T, r *ticketRig) {
	for _, step := range commented() {
		r.save(step.author, step.models...)
	}
	r.save("sql", sqlModel("UPDATE ticket_change SET oldvalue = '3' WHERE field = 'comment' AND oldvalue = '4'"))
	at := func(name string) time.Time {
		for us, n := range r.times {
			if n == name {
				return time.UnixMicro(us)
			}
		}
		require.Fail(t, "no transaction "+name)
		return time.Time{}
	}
	before := r.rows()
	err := r.fails(trac.CommentEdit{ID: 1, CommentNumber: 3, Comment: "Which?"})
	assert.ErrorIs(t, err, trac.ErrAmbiguousComment)
	assert.Contains(t, r.namedIn(err.Error()), "comment 3: the changes of t3 and t4 have this number: ")
	for name, m := range map[string]deleted{
		"change 3: the changes of t3 and t4 have this number: ": {trac.ChangeDelete{ID: 1, CommentNumber: 3}},
		"change 3 of t1: does not exist":                        {trac.ChangeDelete{ID: 1, CommentNumber: 3, ChangeTime: at("t1")}},
		"change of t0: does not exist":                          {trac.ChangeDelete{ID: 1, ChangeTime: at("t0")}},
	} {
		err := r.update("joe", func(ctx context.Context, tx *tracbus.ModelTransaction) error { return tx.Delete(ctx, m.Model) })
		require.Error(t, err)
		assert.Contains(t, r.namedIn(err.Error()), name)
	}
	for name, m := range map[string]trac.CommentEdit{
		"comment 3 of t2: does not exist": {ID: 1, CommentNumber: 3, ChangeTime: at("t2"), Comment: "x"},
		"comment 4 of t4: does not exist": {ID: 1, CommentNumber: 4, ChangeTime: at("t4"), Comment: "x"},
	} {
		err := r.fails(m)
		assert.ErrorIs(t, err, tracbus.ErrNotFound)
		assert.Contains(t, r.namedIn(err.Error()), name)
	}
	assert.Equal(t, before, r.rows())

	number := func(by trac.CommentEdit, comment string) tracbus.Model {
		by.ID, by.Comment = 1, comment
		return by
	}
	r.save("sue", number(trac.CommentEdit{CommentNumber: 3, ChangeTime: at("t4").In(time.FixedZone("", 3600))}, "New 4"))
	r.save("sue", number(trac.CommentEdit{ChangeTime: at("t3")}, "New 3"))
	r.save("sue", number(trac.CommentEdit{CommentNumber: 2, ChangeTime: at("t2")}, "New 2"))
	rows := r.rows()
	for _, want := range []string{"change 1 t4 amy comment: 3 > New 4", "change 1 t3 jim comment: 3 > New 3", "change 1 t2 john comment: 1.2 > New 2"} {
		assert.Contains(t, rows, want)
	}
	r.save("sue", trac.ChangeDelete{ID: 1, CommentNumber: 3, ChangeTime: at("t4")})
	rows = r.rows()
	assert.NotContains(t, rows, "change 1 t4 amy comment: 3 > New 4")
	assert.Contains(t, rows, "change 1 t3 jim comment: 3 > New 3")
	r.save("sue", trac.CommentEdit{ID: 1, CommentNumber: 3, Comment: "One is left"})
	assert.Contains(t, r.rows(), "change 1 t3 jim comment: 3 > One is left")
}

// testAnOldViewOfTheComments has a transaction of the application's comment that has read the
// tables before somebody else commented. Only MySQL lets it.
func testAnOldViewOfTheComments(t *testing.T, r *ticketRig) {
	if r.dialect != tracbus.MySQL {
		return
	}
	r.save("joe", create(tracbus.Fields{"summary": "Crash"}))
	old, err := r.db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	require.NoError(t, err)
	defer func() { _ = old.Rollback() }()
	var n int
	require.NoError(t, old.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM ticket_change").Scan(&n))
	require.Zero(t, n)
	r.save("amy", trac.TicketEdit{ID: 1, Comment: "Me first"})

	tx, err := r.journal.Join(old)
	require.NoError(t, err)
	require.NoError(t, tx.Prepare(tracbus.Actor{Author: "joe"}, ""))
	r.times[tx.Time().UnixMicro()] = "t2"
	require.NoError(t, tx.Save(t.Context(), trac.TicketEdit{ID: 1, Comment: "And me"}))
	_, err = tx.Flush(t.Context())
	require.NoError(t, err)
	require.NoError(t, old.Commit())
	tx.Notify()
	assert.Contains(t, r.rows(), "change 1 t2 joe comment: 2 > And me")
}
