package consumer_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// crowd is a process with many durable consumers, on a pool of few connections.
type crowd struct {
	*desk.Desk
	log        *testkit.LogRecorder
	statements atomic.Int64                  // that went to the database
	handled    atomic.Int64                  // events, of all consumers
	hole       atomic.Pointer[chan struct{}] // closed when the database answers again; nil: it answers
}

// seatCrowd seats a process with so many consumers, called n0, n1 and so on.
func seatCrowd(t *testing.T, s *testdatabase.Server, dsn string, names, connections int, c tracbus.DurableConfig, listen func(ctx context.Context, name string) error) *crowd {
	t.Helper()
	k := &crowd{log: &testkit.LogRecorder{}}
	db := s.Hooked(t, dsn, func(ctx context.Context, _ string) error {
		k.statements.Add(1)
		if hole := k.hole.Load(); hole != nil {
			select {
			case <-*hole:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	db.SetMaxOpenConns(connections)
	logger := slog.New(k.log)
	config := desk.Config{DB: db, Journal: tracbus.JournalConfig{Logger: logger, PollInterval: time.Second}, Before: func(b *tracbus.Bus) {
		for i := range names {
			name := fmt.Sprint("n", i)
			tracbus.On(b, c.Durable(name), func(ctx context.Context, _ tracbus.Event) error {
				if listen != nil {
					if err := listen(ctx, name); err != nil {
						return err
					}
				}
				k.handled.Add(1)
				return nil
			})
		}
	}}
	k.Desk = desk.Seat(t, s, dsn, config)
	return k
}

// lost returns what the log says of leases that were lost.
func (k *crowd) lost() []string { return k.log.With("gives up a consumer's lease") }

// rows returns the status of all consumers by their names.
func (k *crowd) rows(t *testing.T) map[string]tracbus.ConsumerStatus {
	t.Helper()
	st, err := k.Status(testkit.Within(t))
	require.NoError(t, err)
	rows := map[string]tracbus.ConsumerStatus{}
	for _, c := range st.Consumers {
		rows[c.Name] = c
	}
	return rows
}

// holds waits until the process has the leases of so many consumers.
func (k *crowd) holds(t *testing.T, n int) {
	t.Helper()
	testkit.Until(t, fmt.Sprintf("it has %d leases", n), func() bool {
		time.Sleep(20 * time.Millisecond)
		held := 0
		for _, c := range k.rows(t) {
			if c.HeldHere {
				held++
			}
		}
		return held == n
	})
}

// beats returns the heartbeats of all rows.
func beats(t *testing.T, k *crowd) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	var name string
	var beat int64
	testkit.Scan(t, k.DB, "SELECT name, heartbeat FROM journal_consumer", func() { all[name] = beat }, &name, &beat)
	return all
}

// renewed waits until the leases of all consumers were renewed, but for some.
func (k *crowd) renewed(t *testing.T, but ...string) {
	t.Helper()
	before := beats(t, k)
	testkit.Until(t, "all leases are renewed", func() bool {
		time.Sleep(50 * time.Millisecond)
		for name, beat := range beats(t, k) {
			if beat == before[name] && !slices.Contains(but, name) {
				return false
			}
		}
		return true
	})
}

// TestManyNames: a thousand consumers share what they ask of the database. At rest it
// is little, for one change it is fewer than two statements each, and no lease is lost. One that
// hangs harms no other.
func TestManyNames(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		const names = 1000
		hang := make(chan struct{})
		k := seatCrowd(t, s, s.DSN(s.Name()), names, 10, tracbus.DurableConfig{LeaseFor: 12 * time.Second, CallTimeout: time.Hour},
			func(_ context.Context, name string) error {
				if name == "n7" {
					<-hang
				}
				return nil
			})
		defer close(hang)
		k.holds(t, names)

		// The statements of the test itself are few: one each 50 ms.
		before, began := k.statements.Load(), time.Now()
		k.renewed(t)
		rest := k.statements.Load() - before
		t.Logf("%d statements in %v to renew %d leases", rest, time.Since(began), names)
		assert.Less(t, rest, int64(names), "statements of %d consumers at rest", names)

		before = k.statements.Load()
		tid := k.Say(t, "hello", 1)
		testkit.Until(t, "all have handled it but one", func() bool { return k.handled.Load() == names-1 })
		testkit.Until(t, "that is stored", func() bool {
			var stored int
			testkit.Scan(t, k.DB, fmt.Sprintf("SELECT count(*) FROM journal_consumer WHERE tid = %d", tid), func() {}, &stored)
			return stored == names-1
		})
		told := k.statements.Load() - before
		t.Logf("%d statements for a change that %d consumers handle", told, names)
		assert.Less(t, told, int64(2*names), "statements for a change that %d consumers handle", names)
		k.renewed(t)
		assert.Empty(t, k.lost())
	})
}

// TestManyNamesLoseSome: if some of many leases are lost, those end and no other: one
// that is deposed, one whose row is dropped, and one whose cursor went back.
func TestManyNamesLoseSome(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		const names = 30
		k := seatCrowd(t, s, s.DSN(s.Name()), names, 10, tracbus.DurableConfig{LeaseFor: 5 * time.Second}, nil)
		k.holds(t, names)
		k.Say(t, "one", 1)
		testkit.Until(t, "all have handled it", func() bool { return k.handled.Load() == names })
		k.renewed(t)
		before := k.rows(t)
		for _, text := range []string{
			"UPDATE journal_consumer SET token = token + 1, heartbeat = heartbeat + 1, holder = 'another', expires = expires + 3600000000 WHERE name = 'n1'",
			"DELETE FROM journal_consumer WHERE name = 'n2'",
			"UPDATE journal_consumer SET tid = 0, commit_id = '' WHERE name = 'n3'",
		} {
			_, err := k.DB.Exec(text)
			require.NoError(t, err)
		}
		k.Say(t, "two", 1)
		testkit.Until(t, "three leases are lost", func() bool { return len(k.lost()) == 3 })
		k.renewed(t, "n1", "n2", "n3")
		for i, why := range []string{"another process has taken the lease", "another process has taken the lease", "is not where it was stored"} {
			name := fmt.Sprintf("consumer=n%d ", i+1)
			assert.True(t, slices.ContainsFunc(k.lost(), func(line string) bool { return strings.Contains(line, name) && strings.Contains(line, why) }), "%s %q", name, k.lost())
		}
		for name, c := range k.rows(t) {
			if !slices.Contains([]string{"n1", "n2", "n3"}, name) {
				assert.True(t, c.HeldHere, name)
				assert.Equal(t, before[name].Token, c.Token, name)
			}
		}
		assert.Len(t, k.lost(), 3)
	})
}

// TestManyNamesOneLocked: a row that somebody keeps locked does not keep the leases of
// others from being renewed.
func TestManyNamesOneLocked(t *testing.T) {
	for _, dialect := range []string{"postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) {
			testkit.NoLeaks(t)
			s := testdatabase.New(t, dialect)
			dsn := s.DSN(s.Name())
			const names = 30
			k := seatCrowd(t, s, dsn, names, 10, tracbus.DurableConfig{LeaseFor: 3 * time.Second}, nil)
			k.holds(t, names)
			k.renewed(t)
			tx, err := s.Open(t, dsn).Begin()
			require.NoError(t, err)
			defer tx.Rollback()
			_, err = tx.Exec("UPDATE journal_consumer SET failing = 0, error = 'locked' WHERE name = 'n5'")
			require.NoError(t, err)
			testkit.Until(t, "one lease is lost", func() bool { return len(k.lost()) == 1 })
			k.renewed(t, "n5")
			assert.Contains(t, strings.Join(k.lost(), "\n"), "consumer=n5 ")
			assert.Len(t, k.lost(), 1)
			require.NoError(t, tx.Rollback())
			k.holds(t, names)
		})
	}
}

// TestManyNamesChangeHands: where a process cannot ask the database any more, all its
// leases end by its own clock, and another process has all consumers.
func TestManyNamesChangeHands(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		const names = 200
		dsn := s.DSN(s.Name())
		config := tracbus.DurableConfig{LeaseFor: 2 * time.Second}
		a := seatCrowd(t, s, dsn, names, 10, config, nil)
		a.holds(t, names)
		hole := make(chan struct{})
		a.hole.Store(&hole)
		b := seatCrowd(t, s, dsn, names, 10, config, nil)
		testkit.Until(t, "all leases have ended", func() bool { return len(a.log.With("could not be renewed in time")) >= names })
		b.holds(t, names)
		b.Say(t, "hello", 1)
		testkit.Until(t, "the other handles it", func() bool { return b.handled.Load() >= names })
		assert.Zero(t, a.handled.Load())
		a.hole.Store(nil)
		close(hole)
	})
}
