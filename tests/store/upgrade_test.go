package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// read returns what a query says, a line for each row, in the order of the lines.
func (o old) read(query string) (lines []string) {
	o.t.Helper()
	rows, err := o.Query(query)
	require.NoError(o.t, err, query)
	defer rows.Close()
	names, err := rows.Columns()
	require.NoError(o.t, err)
	values := make([]sql.NullString, len(names))
	into := make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		require.NoError(o.t, rows.Scan(into...))
		lines = append(lines, fmt.Sprintf("%+v", values))
	}
	require.NoError(o.t, rows.Err())
	slices.Sort(lines)
	return lines
}

// contents returns what people read of the tables, or of the views in their place.
func (o old) contents() (lines []string) {
	change := map[bool]string{true: "`change`", false: "change"}[o.dialect == "mysql"]
	for _, realm := range oldRealms {
		lines = append(lines, o.read("SELECT tid, seq, id, "+change+", time, author, ipnr, authenticated, comment, parts, replace(state, ' ', '') FROM "+realm+"_journal")...)
		lines = append(lines, o.read("SELECT tid, seq, id, field, old_type, old_value, new_type, new_value FROM "+realm+"_history")...)
	}
	return lines
}

// TestUpgradeViews: the tables of a realm become views that say the same.
func TestUpgradeViews(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		o := versionTwo(t, s.New(t), s.Dialect, 2)
		o.fill(7)
		before := o.contents()
		_, err := store.Open(t.Context(), o.DB, store.Config{Dialect: s.Dialect, Realms: oldRealms})
		require.NoError(t, err)
		assert.Equal(t, before, o.contents())
	})
}

// TestUpgradeInterrupted has processes die at each point of the step, one after the other:
// the last finds all, and those of version 2 are refused.
func TestUpgradeInterrupted(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		const transactions = 2200 // more than are copied at once, twice
		dsn := s.DSN(s.Name())
		o := versionTwo(t, s.Open(t, dsn), s.Dialect, 2)
		o.inOne(func(o old) { o.fill(transactions) })
		o.consume()
		config := store.Config{Dialect: s.Dialect, Realms: oldRealms[:2]} // one is not known to it
		died := errors.New("died")
		deaths := 0
		for most := int64(1); ; most++ {
			var statements atomic.Int64
			db := s.Hooked(t, dsn, func(context.Context, string) error {
				if statements.Add(1) > most {
					return died
				}
				return nil
			})
			_, err := store.Open(t.Context(), db, config)
			require.NoError(t, db.Close())
			if err == nil {
				break
			}
			require.ErrorIs(t, err, died)
			deaths++
		}
		t.Logf("%d deaths", deaths)
		assert.Greater(t, deaths, 10)
		for _, table := range []string{"journal_transaction", "journal_once", "journal_aside", "journal_transaction_2", "ticket_journal_2", "journal_head"} {
			_, err := o.Exec("DELETE FROM " + table)
			assert.Error(t, err, "%s is there", table)
		}
		_, err := store.Open(t.Context(), o.DB, store.Config{Dialect: s.Dialect, Realms: oldRealms})
		require.NoError(t, err)
		st := o.opened(store.Config{Dialect: s.Dialect, Realms: oldRealms})
		o.check(st, transactions)
		o.checkConsumer(st)
	})
}

// inOne runs f in one transaction.
func (o old) inOne(f func(old)) {
	o.t.Helper()
	tx, err := o.Begin()
	require.NoError(o.t, err)
	in := o
	in.tx = tx
	f(in)
	require.NoError(o.t, tx.Commit())
}

// TestUpgradeWhileWritten has processes of version 2 write on while the step is made: what
// they committed is there, and what comes later is refused.
func TestUpgradeWhileWritten(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		const writers = 4
		dsn := s.DSN(s.Name())
		o := versionTwo(t, s.Open(t, dsn), s.Dialect, 2)
		stop, some := make(chan struct{}), make(chan struct{}, writers)
		var working sync.WaitGroup
		var mu sync.Mutex
		committed := map[string]int64{}
		for w := range writers {
			working.Go(func() {
				for n := 0; ; n++ {
					mark := fmt.Sprintf("mark%d-%d", w, n)
					if tid, err := o.commit(mark); err == nil {
						mu.Lock()
						committed[mark] = tid
						mu.Unlock()
					}
					if n == 20 {
						some <- struct{}{}
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
		for range writers {
			<-some
		}
		st, err := store.Open(t.Context(), s.Open(t, dsn), store.Config{Dialect: s.Dialect, Realms: oldRealms})
		close(stop)
		working.Wait()
		require.NoError(t, err)
		found := map[string]int64{}
		for at := (store.Place{}); ; {
			b, err := st.Read(t.Context(), o.DB, at, 100, oldRealms)
			require.NoError(t, err)
			for _, c := range b.Changes {
				assert.NoError(t, c.Damage)
				found[c.CommitID] = c.TID
			}
			if len(b.Places) == 0 {
				break
			}
			at = b.Places[len(b.Places)-1]
		}
		assert.Equal(t, committed, found)
		assert.Greater(t, len(found), 20)
		_, err = o.commit("later")
		assert.Error(t, err)
	})
}

// commit commits a change as version 2 did.
func (o old) commit(mark string) (tid int64, err error) {
	tx, err := o.Begin()
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	const change = "INSERT INTO ticket_journal VALUES (?, 0, '1', 'changed', 1, '', '', 0, '', 0, '{}')"
	var result sql.Result
	switch o.dialect {
	case "postgresql":
		err = tx.QueryRow("SELECT journal_allocate($1, 'o', 'ticket')", mark).Scan(&tid)
		if err == nil {
			_, err = tx.Exec(strings.Replace(change, "?", "$1", 1), tid)
		}
	case "mysql":
		if _, err = tx.Exec("UPDATE journal_head SET tid = tid + 1"); err == nil {
			err = tx.QueryRow("SELECT tid FROM journal_head").Scan(&tid)
		}
		if err == nil {
			_, err = tx.Exec("INSERT INTO journal_transaction VALUES (?, ?, 'o', 'ticket')", tid, mark)
		}
		if err == nil {
			_, err = tx.Exec(change, tid)
		}
	default:
		if result, err = tx.Exec("INSERT INTO journal_transaction (mark, origin, realms) VALUES (?, 'o', 'ticket')", mark); err == nil {
			tid, err = result.LastInsertId()
		}
		if err == nil {
			_, err = tx.Exec(change, tid)
		}
	}
	if err != nil {
		return 0, err
	}
	return tid, tx.Commit()
}

// TestUpgradeWorkers: a user who might work with the tables of version 2 needs rights on the
// tables that take their place. On PostgreSQL that goes for the views too: they have the names of
// tables that are gone. On MySQL rights are by name, and those on the old tables are on the views.
func TestUpgradeWorkers(t *testing.T) {
	for _, dialect := range []string{"postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) {
			s := testdatabase.New(t, dialect)
			dsn := s.DSN(s.Name())
			o := versionTwo(t, s.Open(t, dsn), dialect, 2)
			o.fill(7)
			user, as := "CREATE ROLE worker LOGIN", "postgres@"
			if dialect == "mysql" {
				user, as = "CREATE USER worker", "root@"
			}
			o.exec(user)
			var views []string
			for _, realm := range oldRealms {
				views = append(views, realm+"_journal", realm+"_history")
			}
			grant := func(names ...string) {
				for _, name := range names {
					o.exec("GRANT SELECT, INSERT ON " + name + " TO worker")
				}
			}
			grant(append([]string{"journal_facts", "journal_transaction", "journal_once", "journal_aside"}, views...)...)
			config := store.Config{Dialect: dialect, Realms: oldRealms}
			_, err := store.Open(t.Context(), o.DB, config)
			require.NoError(t, err)

			grant("journal_change", "journal_consumer", "journal_dead_letter")
			if dialect == "mysql" {
				grant("journal_decided", "journal_lock")
				o.exec("GRANT EXECUTE ON PROCEDURE journal_begin TO worker")
				o.exec("GRANT EXECUTE ON PROCEDURE journal_append TO worker")
			} else {
				grant("journal_count")
				config.Manual = true
				_, err = store.Open(t.Context(), s.Open(t, strings.Replace(dsn, as, "worker@", 1)), config)
				assert.ErrorIs(t, err, store.ErrSchema)
				assert.ErrorContains(t, err, "tables are missing: "+strings.Join(views, ", "))
				grant(views...)
			}
			st, err := store.Open(t.Context(), s.Open(t, strings.Replace(dsn, as, "worker@", 1)), config)
			require.NoError(t, err)
			assert.NotEmpty(t, st.UUID())
		})
	}
}

// TestUpgradeLeavesTheSession: the connection that made the step is the pool's again, as it was.
func TestUpgradeLeavesTheSession(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	db := s.Open(t, s.DSN(s.Name())+"&group_concat_max_len=12345")
	db.SetMaxOpenConns(1)
	o := versionTwo(t, db, s.Dialect, 2)
	o.fill(7)
	session := one[int](t, db, "SELECT connection_id()")
	_, err := store.Open(t.Context(), db, store.Config{Dialect: s.Dialect, Realms: oldRealms})
	require.NoError(t, err)
	require.Equal(t, session, one[int](t, db, "SELECT connection_id()"))
	assert.Equal(t, 12345, one[int](t, db, "SELECT @@group_concat_max_len"))
}
