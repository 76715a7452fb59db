package store_test

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestKilledQueries kills queries, in the very moments in which MariaDB takes a subquery
// for null and says nothing. A query that was killed fails; it does not show less: a
// history that went back, no consumer for whom changes are kept, or nothing to be told.
func TestKilledQueries(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	st, db := open(t, s)
	places := fill(t, st, db, s.Dialect, 3)
	require.NoError(t, st.AddConsumer(t.Context(), "a", places[0]))
	killer := s.Open(t, s.DSN(s.Name()))
	db.SetMaxOpenConns(1) // the one that is killed
	var session int64
	require.NoError(t, db.QueryRow("SELECT connection_id()").Scan(&session))
	place := at(places[0].TID, places[0].CommitID)

	for _, query := range []struct {
		what string
		ask  func() (bool, error) // says whether it is right
	}{
		{"a batch", func() (bool, error) {
			b, err := st.Read(t.Context(), db, places[0], 10, twoRealms)
			assert.NotErrorIs(t, err, store.ErrRewound)
			return len(b.Places) == 2 && len(b.Changes) == 8, err
		}},
		{"the slowest consumer", func() (bool, error) {
			tid, found, err := st.SlowestConsumer(t.Context(), db)
			return found && tid == 1, err
		}},
		{"a consumer", func() (bool, error) {
			c, found, err := st.FindConsumer(t.Context(), "a")
			return found && c.DeadLetters == 0, err
		}},
		{"where the counter should be", func() (bool, error) {
			was, is, err := st.FitCounter(t.Context())
			return was == is, err
		}},
		{"what is not told", func() (bool, error) {
			lags, err := st.Lags(t.Context(), []progress.Cursor{place}, twoRealms)
			return lags[place] == progress.Lag{Changes: 8, Oldest: 2000}, err
		}},
	} {
		done := make(chan struct{})
		killed := kill(t, killer, session, done)
		right, failed := 0, 0
		for right+failed < 2000 && !t.Failed() {
			switch ok, err := query.ask(); {
			case err != nil:
				failed++
			case assert.True(t, ok, query.what):
				right++
			}
		}
		close(done)
		<-killed
		t.Logf("%s: %d times right, %d killed", query.what, right, failed)
		assert.NotZero(t, failed, query.what)
		var one int
		for db.QueryRow("SELECT 1").Scan(&one) != nil { // the last kill may strike now
		}
	}
}

// kill kills the queries of a session until done.
func kill(t *testing.T, db *sql.DB, session int64, done chan struct{}) (ended chan struct{}) {
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			for range n % 8 { // else hardly a query comes as far as its subqueries
				_, _ = db.Exec("DO 1")
			}
			if _, err := db.Exec(fmt.Sprintf("KILL QUERY %d", session)); err != nil {
				assert.ErrorContains(t, err, "Unknown thread id")
				return
			}
		}
	}()
	return ended
}
