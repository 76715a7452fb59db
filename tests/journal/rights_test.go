package journal_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// rights are those of docs/databases.md. Each is granted on one table, view, sequence or
// procedure.
type rights struct{ work, views, durable, prune []string }

func rightsOf(dialect string) rights {
	r := rights{
		work:    []string{"SELECT ON journal_facts", "SELECT, INSERT ON journal_change", "SELECT, INSERT ON journal_consumer", "SELECT, INSERT ON journal_dead_letter"},
		views:   []string{"SELECT ON ticket_journal", "SELECT ON ticket_history", "SELECT ON wiki_journal", "SELECT ON wiki_history"},
		durable: []string{"UPDATE, DELETE ON journal_consumer", "UPDATE, DELETE ON journal_dead_letter"},
		prune:   []string{"UPDATE ON journal_facts", "DELETE ON journal_change"},
	}
	if dialect == "postgresql" {
		r.work = append(r.work, "SELECT, INSERT ON journal_count", "USAGE ON SEQUENCE journal_tid")
		r.prune = append(r.prune, "UPDATE ON journal_count")
	} else {
		r.work = append(r.work, "SELECT, UPDATE ON journal_decided", "SELECT, UPDATE ON journal_lock",
			"EXECUTE ON PROCEDURE journal_begin", "EXECUTE ON PROCEDURE journal_append")
	}
	return r
}

// TestRights: a user who has what docs/databases.md names works with a journal that another
// has made, and without one view cannot open it.
func TestRights(t *testing.T) {
	for _, dialect := range []string{"postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) {
			s := testdatabase.New(t, dialect)
			dsn := s.DSN(s.Name())
			admin := desk.Seat(t, s, dsn, desk.Config{Idle: true})
			user, as := "CREATE ROLE worker LOGIN", "postgres@"
			if dialect == "mysql" {
				user, as = "CREATE USER worker", "root@"
			}
			exec := func(statement string) {
				_, err := admin.DB.ExecContext(testkit.Within(t), statement)
				require.NoError(t, err, statement)
			}
			grant := func(all []string) {
				for _, right := range all {
					exec("GRANT " + right + " TO worker")
				}
			}
			exec(user)
			r := rightsOf(dialect)
			grant(r.work)
			grant(r.durable)
			workers := strings.Replace(dsn, as, "worker@", 1)
			for _, right := range r.views {
				config := tracbus.JournalConfig{Dialect: tracbus.Dialect(dialect), NoMigrate: true}
				err := open(t, s.Open(t, workers), config)
				assert.ErrorIs(t, err, tracbus.ErrSchema)
				_, view, _ := strings.Cut(right, " ON ")
				assert.ErrorContains(t, err, "tables are missing: "+view)
				config.NoMigrate = false
				assert.Error(t, open(t, s.Open(t, workers), config), "it may make none")
				grant([]string{right})
			}

			handled := make(chan string, 1)
			d := desk.Seat(t, s, workers, desk.Config{Before: func(b *tracbus.Bus) {
				tracbus.On(b, tracbus.Durable("log"), func(_ context.Context, e tracbus.Event) error {
					handled <- e.About().Comment
					return nil
				})
			}})
			for _, comment := range []string{"one", "two"} {
				require.NoError(t, d.Wait(testkit.Within(t), d.Say(t, comment, 1)))
				assert.Equal(t, comment, <-handled)
			}
			testkit.Until(t, "the cursor is stored", func() bool { return d.Consumer(t, "log").Lag == 0 })
			keep := tracbus.Retention{KeepLast: 1}
			_, err := d.Prune(testkit.Within(t), keep)
			assert.Error(t, err, "it may not prune")
			grant(r.prune)
			n, err := d.Prune(testkit.Within(t), keep)
			assert.NoError(t, err)
			assert.EqualValues(t, 1, n)
		})
	}
}
