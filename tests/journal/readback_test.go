package journal_test

import (
	"database/sql"
	"iter"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestDeliveredIsReadBack has a writer that stands still between reading PostgreSQL's
// sequence and taking its lock, until others have committed: what was delivered can be
// read back all the same.
func TestDeliveredIsReadBack(t *testing.T) {
	s := testdatabase.New(t, "postgresql")
	d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
	ctx := testkit.Within(t)
	for _, comment := range []string{"one", "two", "three"} {
		require.NoError(t, d.Wait(ctx, d.Say(t, comment, 1)))
	}
	writer, err := d.DB.BeginTx(ctx, &sql.TxOptions{})
	require.NoError(t, err)
	_, err = writer.ExecContext(ctx, `SELECT pg_advisory_xact_lock_shared((lock_class::bigint << 48) | 1) FROM journal_facts`) // it read 1
	require.NoError(t, err)
	all := func(events iter.Seq2[tracbus.Event, error]) (comments []string) {
		for e, err := range events {
			require.NoError(t, err)
			comments = append(comments, e.About().Comment)
		}
		slices.Sort(comments)
		return comments
	}
	want := []string{"one", "three", "two"}
	ticket := tracbus.Resource{Realm: tracbus.RealmTicket, ID: "1"}
	assert.Equal(t, want, all(d.Since(ctx, 0)), "Since")
	assert.Equal(t, want, all(d.Before(ctx, 0)), "Before")
	assert.Equal(t, want, all(d.History(ctx, ticket)), "History")
	assert.Equal(t, want, all(d.HistoryBefore(ctx, ticket, 0)), "HistoryBefore")
	assert.Equal(t, want, all(d.Resume(ctx, tracbus.Change{Seq: -1})), "Resume")

	d.Say(t, "four", 1) // held back, until the writer has ended
	assert.Equal(t, want, all(d.Since(ctx, 0)), "undecided")
	require.NoError(t, writer.Rollback())
	d.Hears(t, "four")
}
