package bench_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	watersql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// peers are libraries that store a message in an application's transaction.
func peers(t *testing.T, s *testdatabase.Server) []contest.Way {
	switch s.Dialect {
	case "postgresql":
		return []contest.Way{watermillSQL(t, s, watersql.DefaultPostgreSQLSchema{}), riverJobs(t, s)}
	case "mysql":
		return []contest.Way{watermillSQL(t, s, watersql.DefaultMySQLSchema{})}
	}
	return nil
}

// watermillSQL stores a message in the envelope of its forwarder, which brings it
// elsewhere later.
func watermillSQL(t *testing.T, s *testdatabase.Server, schema watersql.SchemaAdapter) contest.Way {
	k := newTracker(t, s)
	const topic = "changes"
	first, err := watersql.NewPublisher(watersql.BeginnerFromStdSQL(k.db), watersql.PublisherConfig{SchemaAdapter: schema, AutoInitializeSchema: true}, watermill.NopLogger{})
	require.NoError(t, err)
	require.NoError(t, first.Publish(topic, message.NewMessage(watermill.NewUUID(), []byte("{}")))) // which makes the table
	return committing("watermill-sql, with its forwarder", k, func(ctx context.Context) error {
		return k.edit(ctx, func(tx transaction, e edit, before string) error {
			p, err := watersql.NewPublisher(watersql.TxFromStdSQL(tx.(*sql.Tx)), watersql.PublisherConfig{SchemaAdapter: schema}, watermill.NopLogger{})
			if err != nil {
				return err
			}
			m := message.NewMessage(watermill.NewUUID(), e.payload(before))
			return forwarder.NewPublisher(p, forwarder.PublisherConfig{ForwarderTopic: topic}).Publish("trac.ticket", m)
		})
	})
}

// change is a job of River's.
type change struct {
	Message string `json:"message"`
}

func (change) Kind() string { return "change" }

// riverJobs stores a job.
func riverJobs(t *testing.T, s *testdatabase.Server) contest.Way {
	k := newTracker(t, s)
	driver := riverdatabasesql.New(k.db)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: testkit.Quiet})
	require.NoError(t, err)
	_, err = migrator.Migrate(t.Context(), rivermigrate.DirectionUp, nil)
	require.NoError(t, err)
	client, err := river.NewClient(driver, &river.Config{Logger: testkit.Quiet})
	require.NoError(t, err)
	return committing("River, InsertTx", k, func(ctx context.Context) error {
		return k.edit(ctx, func(tx transaction, e edit, before string) error {
			_, err := client.InsertTx(ctx, tx.(*sql.Tx), change{string(e.payload(before))}, nil)
			return err
		})
	})
}
