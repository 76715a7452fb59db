package journal_test

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// ofEnv is a remark on a ticket in an env.
func ofEnv(env string, ticket int64, comment string) tracbus.TicketChanged {
	e := desk.Remark(ticket, comment)
	e.Env = env
	return e
}

// envs shows the env and the comment of each event.
func envs(events []tracbus.Event) (all []string) {
	for _, e := range events {
		all = append(all, e.About().Env+" "+e.About().Comment)
	}
	return all
}

// TestEnvs: an event that names an env keeps it on all ways out of the journal; one that names
// none, or that of the bus, has that of each process's bus.
func TestEnvs(t *testing.T) {
	longest := strings.Repeat("p", 1000)
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		dsn := s.DSN(s.Name())
		var kept []tracbus.Event // by a durable listener
		a := desk.Seat(t, s, dsn, desk.Config{Before: func(b *tracbus.Bus) {
			tracbus.On(b, tracbus.Durable("log"), func(_ context.Context, e tracbus.Event) error { kept = append(kept, e); return nil })
		}})
		b := desk.Seat(t, s, dsn, desk.Config{})
		var last int64
		record := func(events ...tracbus.TicketChanged) {
			var err error
			last, err = a.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
				for _, e := range events {
					require.NoError(t, tx.Record(testkit.Within(t), e))
					pending, ok := tx.Pending(e.Resource())
					assert.True(t, ok)
					assert.Equal(t, cmp.Or(e.Env, "desk"), pending.Change.Env)
				}
				return nil
			})
			require.NoError(t, err)
		}
		record(ofEnv("", 1, "none"), ofEnv("desk", 2, "the bus's"), ofEnv("a.b", 3, "a"), ofEnv("ünï *", 4, "odd"))
		record(ofEnv(longest, 5, "first"))                                                                          // in the statement that takes the tid
		record(ofEnv("a", 6, "left"), ofEnv("b", 6, "came"), ofEnv("b", 6, "and was changed"), ofEnv("", 6, "own")) // one resource
		want := []string{"desk none", "desk the bus's", "a.b a", "ünï * odd", longest + " first", "a left", "b and was changed", "desk own"}

		for _, d := range []*desk.Desk{a, b} {
			require.NoError(t, d.Wait(testkit.Within(t), last))
			all, _ := d.Heard()
			assert.Equal(t, want, envs(all))
		}
		read := func(events iter.Seq2[tracbus.Event, error]) (all []tracbus.Event) {
			for e, err := range events {
				require.NoError(t, err)
				all = append(all, e)
			}
			return all
		}
		told, _ := a.Heard()
		assert.Equal(t, told, read(a.Since(testkit.Within(t), 0)))
		assert.Equal(t, told, read(a.Resume(testkit.Within(t), tracbus.Change{})))
		assert.Equal(t, want[5:], envs(read(a.History(testkit.Within(t), tracbus.TicketResource(6)))), "a resource has the changes of all envs")
		back := read(a.Before(testkit.Within(t), 0))
		require.Len(t, back, len(told))
		assert.Equal(t, told[0], back[len(back)-1])
		require.NoError(t, a.Bus.Wait(testkit.Within(t)))
		assert.Equal(t, told, kept)

		var stored int
		require.NoError(t, a.DB.QueryRow("SELECT count(env) FROM ticket_journal").Scan(&stored))
		assert.Equal(t, 5, stored, "a name that is the bus's own is not kept")
		desk.CheckJournal(t, a.DB, s.Dialect, "ticket", "wiki")

		other := tracbus.NewBus("elsewhere")
		j, err := tracbus.OpenJournal(testkit.Within(t), a.DB, other, tracbus.JournalConfig{Dialect: tracbus.Dialect(s.Dialect)})
		require.NoError(t, err)
		seen := envs(read(j.Since(testkit.Within(t), 0)))
		assert.Equal(t, []string{"elsewhere none", "elsewhere the bus's", "a.b a"}, seen[:3])
		require.NoError(t, j.Close(testkit.Within(t)))
		require.NoError(t, other.Close(testkit.Within(t)))
	})
}

// TestEnvsRefused: what no channel may hold is stored nowhere, and what was put into a table by
// hand is told as a change that cannot be read.
func TestEnvsRefused(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{})
		for _, env := range []string{"a\nb", "\xff", strings.Repeat("a", 1001), "a.wiki.changed"} {
			_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
				return tx.Record(testkit.Within(t), ofEnv(env, 1, "never"))
			})
			assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
			assert.ErrorContains(t, err, "record ticket 1: env")
		}
		d.Pause(t)
		d.Say(t, "spoilt", 1)
		last := d.Say(t, "sound", 2)
		_, err := d.DB.Exec(fmt.Sprintf("UPDATE journal_change SET env = 'a.changed' WHERE tid = %d", last-1))
		require.NoError(t, err)
		d.Follow()
		d.Hears(t, "sound")
		all, _ := d.Heard()
		assert.Equal(t, []string{"(unreadable)", "sound"}, desk.Briefs(all))
	})
}

// TestEnvsOnRedis: each event is published on the channel of its env, and its entry of the
// stream, which all envs share, names it.
func TestEnvsOnRedis(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		server := testserver.Redis(t, testserver.RedisOptions{})
		client := testkit.HastyClient(t, server.Addr())
		publisher := tracbus.NewPublisher(client, tracbus.PublisherConfig{StreamKey: "changes", Logger: testkit.Quiet})
		t.Cleanup(publisher.Close)
		config := tracbus.SubscriberConfig{MaxBackoff: 20 * time.Millisecond, PingAfter: 100 * time.Millisecond}
		live := testkit.Loop(t, func(ctx context.Context) iter.Seq2[tracbus.Event, error] {
			return tracbus.NewSubscriber(client, config).Events(ctx, "trac.a.*", "trac.desk.*")
		})
		assert.IsType(t, tracbus.Resync{}, live.Next().Value)
		d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Before: func(b *tracbus.Bus) {
			b.All(tracbus.DurableConfig{FromOldest: true}.Durable("redis"), publisher)
		}})
		for i, env := range []string{"a", "b", "", "a.b"} {
			_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
				return tx.Record(testkit.Within(t), ofEnv(env, int64(i+1), "why"))
			})
			require.NoError(t, err)
		}
		for _, want := range []string{"a", "desk", "a.b"} {
			got := live.Next()
			require.NoError(t, got.Err)
			assert.Equal(t, want, got.Value.About().Env)
		}
		kept := testkit.Loop(t, func(ctx context.Context) iter.Seq2[tracbus.StreamEntry, error] {
			return tracbus.NewSubscriber(client, config).Stream(ctx, "changes", "0")
		})
		assert.IsType(t, tracbus.Resync{}, kept.Next().Value.Event)
		for i, env := range []string{"a", "b", "desk", "a.b"} {
			got := kept.Next()
			require.NoError(t, got.Err)
			assert.Equal(t, env, got.Value.Event.About().Env)
			assert.Equal(t, tracbus.TicketResource(int64(i+1)), got.Value.Event.Resource())
		}
	})
}
