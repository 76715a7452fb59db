package realtrac_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/realtrac"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
)

// TestHotcopy has trac-admin copy an environment while a journal is open on its SQLite file
// and has just committed tickets. As docs/databases.md recommends it, the copy has them all;
// with a write-ahead log, Trac leaves out what is in it.
func TestHotcopy(t *testing.T) {
	real := realtrac.Find(t)
	for name, test := range map[string]struct {
		pragma string
		whole  bool
	}{
		"as recommended":           {"", true},
		"with a write-ahead log":   {"&_pragma=journal_mode(WAL)", false},
		"set back from such a log": {"&_pragma=journal_mode(DELETE)", true},
	} {
		t.Run(name, func(t *testing.T) {
			const tickets = 20
			s := testdatabase.New(t, "sqlite")
			e := real.NewEnvironment(s)
			if name == "set back from such a log" {
				db := s.Open(t, e.DSN()+"&_pragma=journal_mode(WAL)")
				require.NoError(t, db.PingContext(t.Context()))
				require.NoError(t, db.Close())
			}
			db := s.Open(t, e.DSN()+test.pragma)
			bus := tracbus.NewBus("test")
			j, err := tracbus.OpenJournal(t.Context(), db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite})
			require.NoError(t, err)
			ran := make(chan error, 1)
			go func() { ran <- j.Run(context.Background()) }()
			for i := range tickets {
				_, err := j.Update(t.Context(), tracbus.Actor{Author: "joe"}, func(tx *tracbus.ModelTransaction) error {
					return tx.Save(t.Context(), trac.TicketCreate{Set: tracbus.Fields{"summary": fmt.Sprint("ticket ", i)}})
				})
				require.NoError(t, err)
			}
			copied := filepath.Join(t.TempDir(), "copy")
			e.Admin("hotcopy", copied)

			copy := s.Open(t, testdatabase.SQLiteOfTrac(filepath.Join(copied, "db", "trac.db")))
			var n int
			require.NoError(t, copy.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM ticket").Scan(&n))
			if test.whole {
				assert.Equal(t, tickets, n)
			} else {
				assert.Less(t, n, tickets)
			}
			var sound string
			require.NoError(t, copy.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&sound))
			assert.Equal(t, "ok", sound)
			require.NoError(t, errors.Join(j.Close(context.Background()), bus.Close(context.Background())))
			require.NoError(t, <-ran)
		})
	}
}
