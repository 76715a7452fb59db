package store_test

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// at is a cursor behind all of a transaction.
func at(tid int64, mark string) progress.Cursor {
	return progress.Cursor{Place: store.Place{TID: tid, CommitID: mark}}
}

// within is a cursor behind a change of a transaction that has more.
func within(tid int64, mark string, seq int) progress.Cursor {
	return progress.Cursor{Place: store.Place{TID: tid, CommitID: mark}, Seq: seq, Partial: true}
}

// find reads a name that must be known.
func find(t *testing.T, st tables, name string) progress.Consumer {
	t.Helper()
	o, found, err := st.FindConsumer(t.Context(), name)
	require.NoError(t, err)
	require.True(t, found, "name %q is not known", name)
	return o
}

// timeless is a name without what the clock moves.
func timeless(o progress.Consumer) progress.Consumer {
	o.Left, o.Held, o.Failing = 0, 0, 0
	return o
}

// takeOnce takes a lease that must be free.
func takeOnce(t *testing.T, st tables, name, holder string) int64 {
	t.Helper()
	epoch, taken, err := st.AcquireLease(t.Context(), find(t, st, name), holder, time.Hour, false)
	require.NoError(t, err)
	require.True(t, taken, "the lease of %q was not taken", name)
	return epoch
}

// is returns a check of what a function of the store returns.
func is(t *testing.T, want bool) func(got bool, err error) {
	return func(got bool, err error) {
		t.Helper()
		assert.NoError(t, err)
		assert.Equal(t, want, got)
	}
}

var twoRealms = []string{"ticket", "wiki"}

// tables are all of a journal's: the changes and the consumers.
type tables struct {
	*store.Store
	*progress.Tables
}

// AcquireLease acquires one lease.
func (t tables) AcquireLease(ctx context.Context, seen progress.Consumer, holder string, lease time.Duration, force bool) (int64, bool, error) {
	tokens, err := t.AcquireLeases(ctx, []progress.Consumer{seen}, holder, lease, force)
	token, taken := tokens[seen.Name]
	return token, taken, err
}

// RenewLease renews one lease.
func (t tables) RenewLease(ctx context.Context, name string, token int64, lease time.Duration) (bool, error) {
	n, err := t.RenewLeases(ctx, lease, []progress.Claim{{Name: name, Token: token}})
	return n > 0, err
}

// MoveCursor moves one cursor.
func (t tables) MoveCursor(ctx context.Context, name string, token int64, from, to progress.Cursor, lease time.Duration) (bool, error) {
	n, err := t.MoveCursors(ctx, lease, []progress.Move{{Claim: progress.Claim{Name: name, Token: token}, From: from, To: to}})
	return n > 0, err
}

// ReleaseLease releases one lease.
func (t tables) ReleaseLease(ctx context.Context, name string, token int64) error {
	return t.ReleaseLeases(ctx, []progress.Claim{{Name: name, Token: token}})
}

// AddConsumer adds one consumer.
func (t tables) AddConsumer(ctx context.Context, name string, at store.Place) error {
	return t.AddConsumers(ctx, at, name)
}

func openTables(ctx context.Context, db *sql.DB, config store.Config) (tables, error) {
	st, err := store.Open(ctx, db, config)
	return tables{st, progress.Of(st, db)}, err
}

// open opens the store of an empty database.
func open(t *testing.T, s *testdatabase.Server) (tables, *sql.DB) {
	t.Helper()
	db := s.New(t)
	st, err := openTables(t.Context(), db, store.Config{Dialect: s.Dialect, Realms: twoRealms})
	require.NoError(t, err)
	return st, db
}

// TestOnceTrail: a name is added, taken, told, fails, sets aside, and is given
// back, whatever the settings of the connections.
func TestOnceTrail(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		settings := map[string][]string{
			"postgresql": {"&default_query_exec_mode=simple_protocol", "&timezone=Asia/Kathmandu", "&default_transaction_isolation=serializable"},
			"mysql":      {"&clientFoundRows=true", "&time_zone=%27%2B05:45%27", "&transaction_isolation=%27SERIALIZABLE%27", "&sql_mode=%27ANSI,TRADITIONAL%27"},
		}[s.Dialect]
		for _, setting := range settings {
			t.Run(setting, func(t *testing.T) {
				dsn := s.DSN(s.Name())
				if s.Dialect == "mysql" && strings.HasPrefix(setting, "&transaction_isolation") {
					var name, value string // the version's
					require.NoError(t, s.Open(t, dsn).QueryRow("SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')").Scan(&name, &value))
					setting = strings.Replace(setting, "transaction_isolation", name, 1)
				}
				if !strings.Contains(dsn, "?") {
					setting = "?" + setting[1:]
				}
				trail(t, s.Open(t, dsn+setting), store.Config{Dialect: s.Dialect})
			})
		}
		t.Run("as in README", func(t *testing.T) { trail(t, s.New(t), store.Config{Dialect: s.Dialect}) })
		t.Run("one connection", func(t *testing.T) {
			db := s.New(t)
			db.SetMaxOpenConns(1)
			trail(t, db, store.Config{Dialect: s.Dialect})
		})
		switch s.Dialect {
		case "mysql":
			t.Run("plain", func(t *testing.T) {
				trail(t, s.Open(t, strings.Split(s.DSN(s.Name()), "?")[0]), store.Config{Dialect: s.Dialect})
			})
			t.Run("another schema", func(t *testing.T) {
				other := s.Name()
				trail(t, s.New(t), store.Config{Dialect: s.Dialect, Schema: other})
				assert.Zero(t, one[int](t, s.Open(t, s.DSN(other)), "SELECT count(*) FROM journal_consumer"))
			})
		case "postgresql":
			t.Run("another schema", func(t *testing.T) {
				db := s.New(t)
				_, err := db.Exec(`CREATE SCHEMA "Another one"`)
				require.NoError(t, err)
				trail(t, db, store.Config{Dialect: s.Dialect, Schema: "Another one"})
				assert.Zero(t, one[int](t, db, `SELECT count(*) FROM "Another one".journal_consumer`))
			})
		}
	})
}

func trail(t *testing.T, db *sql.DB, config store.Config) {
	ctx := t.Context()
	st, err := openTables(ctx, db, config)
	require.NoError(t, err)
	_, found, err := st.FindConsumer(ctx, "mail")
	require.NoError(t, err)
	assert.False(t, found)
	require.NoError(t, st.AddConsumer(ctx, "mail", store.Place{TID: 3, CommitID: "c"}))
	require.NoError(t, st.AddConsumer(ctx, "mail", store.Place{TID: 9, CommitID: "x"}))
	assert.Equal(t, progress.Consumer{Name: "mail", Cursor: at(3, "c"), Generation: -1}, find(t, st, "mail"))

	epoch := takeOnce(t, st, "mail", "host 1")
	is(t, true)(st.MoveCursor(ctx, "mail", epoch, at(3, "c"), within(4, "d", 0), time.Hour))
	assert.Equal(t, within(4, "d", 0), find(t, st, "mail").Cursor)
	is(t, true)(st.PutDeadLetter(ctx, "mail", epoch, within(4, "d", 0), at(4, "d"), time.Hour, progress.DeadLetter{TID: 4, Seq: 1, CommitID: "d", Realm: "wiki", ID: "a", Error: "no", Attempts: 3}))
	require.NoError(t, st.NoteFailure(ctx, "mail", epoch, "away"))
	is(t, true)(st.NoteGeneration(ctx, "mail", epoch, 7))
	is(t, true)(st.RenewLease(ctx, "mail", epoch, time.Hour))

	o := find(t, st, "mail")
	assert.Greater(t, o.Left, 50*time.Minute)
	assert.LessOrEqual(t, o.Left, time.Hour)
	assert.Less(t, o.Held, 10*time.Minute)
	assert.Less(t, o.Failing, 10*time.Minute)
	want := progress.Consumer{Name: "mail", Cursor: at(4, "d"), Token: epoch, Heartbeat: 6, Holder: "host 1", Generation: 7, Error: "away", DeadLetters: 1}
	assert.Equal(t, want, timeless(o))
	all, err := st.Consumers(ctx)
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.Equal(t, want, timeless(all[0]))

	// The clock is that of the world, in no time zone.
	asides, err := st.DeadLetters(ctx, "mail", false, 0, -1, 10)
	require.NoError(t, err)
	require.Len(t, asides, 1)
	assert.WithinDuration(t, time.Now(), time.UnixMicro(asides[0].Since), 10*time.Minute)
	assert.WithinDuration(t, time.Now(), time.UnixMilli(epoch), 10*time.Minute)

	require.NoError(t, st.NoteFailure(ctx, "mail", epoch, ""))
	require.NoError(t, st.ReleaseLease(ctx, "mail", epoch))
	o = find(t, st, "mail")
	assert.Equal(t, progress.Consumer{Name: "mail", Cursor: at(4, "d"), Token: epoch, Heartbeat: 8, Generation: 7, DeadLetters: 1}, o)
	is(t, false)(st.RenewLease(ctx, "mail", epoch, time.Hour))
	require.NoError(t, st.DropConsumer(ctx, "mail"))
	all, err = st.Consumers(ctx)
	require.NoError(t, err)
	assert.Empty(t, all)
	asides, err = st.DeadLetters(ctx, "mail", false, 0, -1, 10)
	require.NoError(t, err)
	assert.Empty(t, asides)
}

// TestOnceUnknown: a name that is not known, or was forgotten, is no error.
func TestOnceUnknown(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		ctx := t.Context()
		st, db := open(t, s)
		require.NoError(t, st.AddConsumer(ctx, "a", store.Place{}))
		seen := find(t, st, "a")
		epoch := takeOnce(t, st, "a", "one")
		held := find(t, st, "a")
		require.NoError(t, st.DropConsumer(ctx, "a"))
		for _, seen := range []progress.Consumer{seen, held} {
			_, taken, err := st.AcquireLease(ctx, seen, "one", time.Hour, true)
			assert.NoError(t, err)
			assert.False(t, taken)
		}
		is(t, false)(st.RenewLease(ctx, "a", epoch, time.Hour))
		is(t, false)(st.MoveCursor(ctx, "a", epoch, at(0, ""), at(1, "a"), time.Hour))
		is(t, false)(st.PutDeadLetter(ctx, "a", epoch, at(0, ""), at(1, "a"), time.Hour, progress.DeadLetter{TID: 1, CommitID: "a", Realm: "wiki", ID: "x"}))
		is(t, false)(st.NoteGeneration(ctx, "a", epoch, 1))
		assert.NoError(t, st.NoteFailure(ctx, "a", epoch, "x"))
		assert.NoError(t, st.ReleaseLease(ctx, "a", epoch))
		assert.NoError(t, st.ForgetDeadLetter(ctx, "a", epoch, 1, 0))
		assert.NoError(t, st.DropConsumer(ctx, "a"))
		n, err := st.RedeliverDeadLetters(ctx, "a")
		assert.NoError(t, err)
		assert.Zero(t, n)
		assert.Zero(t, one[int](t, db, "SELECT count(*) FROM journal_consumer"))
		assert.Zero(t, one[int](t, db, "SELECT count(*) FROM journal_dead_letter"))

		// One that comes back with the same name begins with no epoch of old.
		require.NoError(t, st.AddConsumer(ctx, "a", store.Place{}))
		is(t, false)(st.MoveCursor(ctx, "a", epoch, at(0, ""), at(1, "a"), time.Hour))
	})
}

// TestOnceAwaited: on SQLite, a lease waits for others who write, as long as its
// context allows.
func TestOnceAwaited(t *testing.T) {
	s := testdatabase.New(t, "sqlite")
	dsn := strings.Replace(s.DSN(s.Name()), "busy_timeout(10000)", "busy_timeout(0)", 1)
	db := s.Open(t, dsn)
	st, err := openTables(t.Context(), db, store.Config{Dialect: "sqlite", Realms: twoRealms})
	require.NoError(t, err)
	require.NoError(t, st.AddConsumer(t.Context(), "a", store.Place{}))
	seen := find(t, st, "a")
	writer, err := st.Begin(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, _, err = st.AcquireLease(ctx, seen, "one", time.Hour, false)
	assert.ErrorContains(t, err, "another transaction is writing")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		_, taken, err := st.AcquireLease(t.Context(), seen, "one", time.Hour, false)
		assert.NoError(t, err)
		assert.True(t, taken)
	})
	writer.Rollback()
	waiting.Wait()
}
