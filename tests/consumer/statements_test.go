package consumer_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
)

// statements notes what goes to a database.
type statements struct {
	mu  sync.Mutex
	all []string
}

func (s *statements) note(_ context.Context, query string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, strings.Join(strings.Fields(query), " "))
	return nil
}

// take returns what was noted since the last time.
func (s *statements) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.all = nil }()
	return s.all
}

// TestStatementsOfAChange counts all statements of a process for one edit of a ticket
// that durable consumers handle in it, from BEGIN to the cursors: however many there are,
// they share what reads and what writes.
func TestStatementsOfAChange(t *testing.T) {
	// A statement for each of: BEGIN, the lock of the ticket, two reads and two writes of
	// Trac's tables, the journal's append, COMMIT; what the follower reads; the cursors.
	// Databases differ in what can go together. The first of many who is done may not wait
	// for the others; on MySQL, these lock their rows before.
	most := map[string]map[int]int{"postgresql": {1: 11, 10: 12}, "sqlite": {1: 10, 10: 11}, "mysql": {1: 8, 10: 12}}
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for _, consumers := range []int{1, 10} {
			t.Run(fmt.Sprint(consumers), func(t *testing.T) {
				var log statements
				dsn := s.DSN(s.Name())
				handled := make(chan struct{}, 100)
				d := desk.Seat(t, s, dsn, desk.Config{
					DB: s.Hooked(t, dsn, log.note), Journal: tracbus.JournalConfig{PollInterval: time.Hour},
					Before: func(b *tracbus.Bus) {
						for i := range consumers {
							tracbus.On(b, tracbus.DurableConfig{LeaseFor: time.Hour}.Durable(fmt.Sprint("n", i)), func(context.Context, tracbus.Event) error {
								handled <- struct{}{}
								return nil
							})
						}
					},
				})
				for _, text := range tracdatabase.Schema(s.Dialect) {
					_, err := d.DB.ExecContext(testkit.Within(t), text)
					require.NoError(t, err)
				}
				watch := s.Open(t, dsn)
				var id int64
				save := func(e tracbus.Model) {
					tid, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error { return tx.Save(testkit.Within(t), e) })
					require.NoError(t, err)
					for range consumers {
						<-handled
					}
					testkit.Until(t, "the cursors are stored", func() bool {
						var stored int
						require.NoError(t, watch.QueryRow(fmt.Sprint("SELECT count(*) FROM journal_consumer WHERE tid = ", tid)).Scan(&stored))
						return stored == consumers
					})
				}
				save(trac.TicketCreate{AssignedID: &id, Set: tracbus.Fields{"summary": "Crash"}})
				var least []string
				for i := range 20 {
					log.take()
					save(trac.TicketEdit{ID: id, Set: tracbus.Fields{"milestone": fmt.Sprint("m", i)}, Comment: "It will be."})
					// Now and then something else comes between, such as what looks once a second.
					if did := log.take(); least == nil || len(did) < len(least) {
						least = did
					}
				}
				assert.LessOrEqual(t, len(least), most[s.Dialect][consumers], strings.Join(least, "\n"))
				reads := slices.DeleteFunc(slices.Clone(least), func(text string) bool { return !strings.HasPrefix(text, "SELECT") || !strings.Contains(text, "origin") })
				assert.Len(t, reads, 1, "what is new is read once, for all")
			})
		}
	})
}
