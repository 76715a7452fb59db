package capture_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
)

// TestJoinedCreateIsOurs: what a joined transaction creates first, of which no number is known
// before, is told once, as the journal's own.
func TestJoinedCreateIsOurs(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		r := newRig(t, s)
		tx, err := r.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		joined, err := r.journal.Join(tx)
		require.NoError(t, err)
		require.NoError(t, joined.Prepare(tracbus.Actor{Author: "go"}, ""))
		require.NoError(t, joined.Save(t.Context(), trac.TicketCreate{Set: tracbus.Fields{"summary": "ours"}}))
		tid, err := joined.Flush(t.Context())
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		joined.Notify()
		e := r.next()
		require.IsType(t, tracbus.TicketCreated{}, e)
		assert.True(t, e.About().Primary)
		assert.Equal(t, tid, e.About().TID)
		r.exec(`UPDATE ticket SET component = 'c'`)
		require.IsType(t, tracbus.TicketChanged{}, r.next(), "and nothing before it")
	})
}
