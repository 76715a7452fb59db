package bench_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	watersql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// relays measures how fast what was committed comes to Redis.
func relays(t *testing.T, dialect string) *contest.Contest {
	s := durableServer(t, dialect)
	client := redis.NewClient(&redis.Options{Addr: testserver.Redis(t, testserver.RedisOptions{}).Addr()})
	t.Cleanup(func() { _ = client.Close() })
	c := &contest.Contest{
		About: "A backlog that was committed while nobody relayed it is published on Redis. “outbox” is a loop by hand, which reads 256 rows of an " +
			"outbox, publishes them in one pipeline and stores how far it came.",
		Units: []string{"changes/s"}, Against: "outbox",
		Ways: []contest.Way{relayByHand(t, s, client), relayed(t, s, client, "a durable publisher", ""), relayed(t, s, client, "the same, with a stream", "changes")},
	}
	switch dialect {
	case "postgresql":
		c.Ways = append(c.Ways, forwarded(t, s, client, watersql.DefaultPostgreSQLSchema{}, watersql.DefaultPostgreSQLOffsetsAdapter{}), worked(t, s, client))
	case "mysql":
		c.Ways = append(c.Ways, forwarded(t, s, client, watersql.DefaultMySQLSchema{}, watersql.DefaultMySQLOffsetsAdapter{}))
	}
	return c
}

// backlog is how many changes a way relays that is known to relay so many a second.
func backlog(long time.Duration, perSecond int) int64 {
	return max(50, int64(long.Seconds()*float64(perSecond)))
}

// relaying is a way that relays what prepare has made. What relay returns ends it, which
// is not measured.
func relaying(name string, perSecond int, prepare func(ctx context.Context, changes int64) error, relay func(ctx context.Context, changes int64) (end func() error, err error)) contest.Way {
	return contest.Way{Name: name, Run: func(ctx context.Context, _ int, long time.Duration) ([]float64, error) {
		changes := backlog(long, perSecond)
		if err := prepare(ctx, changes); err != nil {
			return nil, err
		}
		began := time.Now()
		end, err := relay(ctx, changes)
		took := time.Since(began)
		if err != nil {
			return nil, err
		}
		return []float64{float64(changes) / took.Seconds()}, end()
	}}
}

// relayed is a durable publisher that begins with the oldest change, each time under
// another name: Redis would know one that was used before.
func relayed(t *testing.T, s *testdatabase.Server, client *redis.Client, name, stream string) contest.Way {
	k := newTracker(t, s)
	pool(k.db, 6)
	filler := k.open(t, tracbus.NewBus("bench"), tracbus.JournalConfig{})
	prepare := func(ctx context.Context, changes int64) error { return k.fill(ctx, filler, changes) }
	return relaying(name, 50_000, prepare, func(ctx context.Context, changes int64) (func() error, error) {
		consumer := rand.Text()
		config := tracbus.PublisherConfig{Logger: testkit.Quiet}
		if stream != "" {
			config.StreamKey = stream + consumer
		}
		bus := tracbus.BusConfig{Logger: testkit.Quiet}.NewBus("bench")
		p := tracbus.NewPublisher(client, config)
		all := bus.All(tracbus.DurableConfig{FromOldest: true}.Durable(consumer), p)
		j, err := tracbus.OpenJournal(ctx, k.db, bus, tracbus.JournalConfig{Dialect: k.dialect, Logger: testkit.Quiet})
		if err != nil {
			return nil, err
		}
		running, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- j.Run(running) }()
		for p.Stats().Published < uint64(changes) && err == nil { // Wait asks the database, and not all the time
			err = idle(ctx, time.Millisecond)
		}
		return func() error {
			err := all.Wait(ctx)
			cancel()
			err = errors.Join(err, <-ended, j.DropConsumer(ctx, consumer), j.Close(ctx), bus.Close(ctx))
			if got := p.Stats().Published; err == nil && got != uint64(changes) {
				err = fmt.Errorf("%s published %d of %d changes", name, got, changes)
			}
			return err
		}, err
	})
}

// relayByHand is an outbox with a loop.
func relayByHand(t *testing.T, s *testdatabase.Server, client *redis.Client) contest.Way {
	k := newTracker(t, s)
	pool(k.db, 4)
	k.exec(t, "CREATE TABLE outbox (id BIGINT NOT NULL PRIMARY KEY, payload TEXT NOT NULL)")
	k.exec(t, "CREATE TABLE relayed (id BIGINT NOT NULL)")
	k.exec(t, "INSERT INTO relayed VALUES (0)")
	payload := string(anyEdit().payload("milestone0"))
	have := int64(0)
	prepare := func(ctx context.Context, changes int64) error {
		if have == 0 {
			if _, err := k.db.ExecContext(ctx, k.bind("INSERT INTO outbox VALUES (1, ?)"), payload); err != nil {
				return err
			}
			have = 1
		}
		for have < changes {
			more := min(have, changes-have, 50_000)
			if _, err := k.db.ExecContext(ctx, k.bind("INSERT INTO outbox SELECT id + ?, payload FROM outbox WHERE id <= ?"), have, more); err != nil {
				return err
			}
			have += more
		}
		_, err := k.db.ExecContext(ctx, "UPDATE relayed SET id = 0")
		return err
	}
	read, note := k.bind("SELECT id, payload FROM outbox WHERE id > ? ORDER BY id LIMIT 256"), k.bind("UPDATE relayed SET id = ?")
	return relaying("outbox", 50_000, prepare, func(ctx context.Context, changes int64) (func() error, error) {
		for last := int64(0); last < changes; {
			pipe := client.Pipeline()
			if err := k.each(ctx, read, last, func(id int64, payload string) {
				last = id
				pipe.Publish(ctx, "trac.bench.ticket.changed.1", payload)
			}); err != nil {
				return nil, err
			}
			if _, err := pipe.Exec(ctx); err != nil {
				return nil, err
			}
			if _, err := k.db.ExecContext(ctx, note, last); err != nil {
				return nil, err
			}
		}
		return func() error { return nil }, nil
	})
}

func (k *tracker) each(ctx context.Context, read string, after int64, row func(id int64, payload string)) error {
	rows, err := k.db.QueryContext(ctx, read, after)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var payload string
		if err := rows.Scan(&id, &payload); err != nil {
			return err
		}
		row(id, payload)
	}
	return rows.Err()
}

// published counts what a peer publishes on Redis, message by message.
type published struct {
	client *redis.Client
	n      atomic.Int64
	want   int64
	all    chan struct{}
}

func (p *published) expect(n int64) {
	p.n.Store(0)
	p.want, p.all = n, make(chan struct{})
}

func (p *published) one(ctx context.Context, payload []byte) error {
	if err := p.client.Publish(ctx, "trac.bench.ticket.changed.1", payload).Err(); err != nil {
		return err
	}
	if p.n.Add(1) == p.want {
		close(p.all)
	}
	return nil
}

func (p *published) wait(ctx context.Context) error {
	select {
	case <-p.all:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Publish makes it watermill's publisher.
func (p *published) Publish(_ string, messages ...*message.Message) error {
	for _, m := range messages {
		if err := p.one(m.Context(), m.Payload); err != nil {
			return err
		}
	}
	return nil
}

func (p *published) Close() error { return nil }

// forwarded is watermill-sql with its forwarder.
func forwarded(t *testing.T, s *testdatabase.Server, client *redis.Client, schema watersql.SchemaAdapter, offsets watersql.OffsetsAdapter) contest.Way {
	const topic = "changes"
	k, out := newTracker(t, s), &published{client: client}
	pool(k.db, 6)
	in, err := watersql.NewPublisher(watersql.BeginnerFromStdSQL(k.db), watersql.PublisherConfig{SchemaAdapter: schema, AutoInitializeSchema: true}, watermill.NopLogger{})
	require.NoError(t, err)
	envelope := forwarder.NewPublisher(in, forwarder.PublisherConfig{ForwarderTopic: topic})
	prepare := func(_ context.Context, changes int64) error {
		out.expect(changes)
		for n := int64(0); n < changes; {
			var some []*message.Message
			for ; n < changes && len(some) < 500; n++ {
				some = append(some, message.NewMessage(watermill.NewUUID(), anyEdit().payload("milestone0")))
			}
			if err := envelope.Publish("trac.ticket", some...); err != nil {
				return err
			}
		}
		return nil
	}
	return relaying("watermill-sql's forwarder", 4_000, prepare, func(ctx context.Context, _ int64) (func() error, error) {
		from, err := watersql.NewSubscriber(watersql.BeginnerFromStdSQL(k.db), watersql.SubscriberConfig{
			ConsumerGroup: "bench", SchemaAdapter: schema, OffsetsAdapter: offsets, InitializeSchema: true, PollInterval: 10 * time.Millisecond,
		}, watermill.NopLogger{})
		if err != nil {
			return nil, err
		}
		f, err := forwarder.NewForwarder(from, out, watermill.NopLogger{}, forwarder.Config{ForwarderTopic: topic})
		if err != nil {
			return nil, err
		}
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		err = out.wait(ctx)
		return func() error { return errors.Join(f.Close(), <-ended) }, err
	})
}

// publishWorker is River's.
type publishWorker struct {
	river.WorkerDefaults[change]
	out *published
}

func (w *publishWorker) Work(ctx context.Context, job *river.Job[change]) error {
	return w.out.one(ctx, []byte(job.Args.Message))
}

// worked is River, with a hundred workers.
func worked(t *testing.T, s *testdatabase.Server, client *redis.Client) contest.Way {
	k, out := newTracker(t, s), &published{client: client}
	pool(k.db, 20)
	driver := riverdatabasesql.New(k.db)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: testkit.Quiet})
	require.NoError(t, err)
	_, err = migrator.Migrate(t.Context(), rivermigrate.DirectionUp, nil)
	require.NoError(t, err)
	workers := river.NewWorkers()
	river.AddWorker(workers, &publishWorker{out: out})
	inserter, err := river.NewClient(driver, &river.Config{Logger: testkit.Quiet})
	require.NoError(t, err)
	prepare := func(ctx context.Context, changes int64) error {
		out.expect(changes)
		for n := int64(0); n < changes; {
			var some []river.InsertManyParams
			for ; n < changes && len(some) < 500; n++ {
				some = append(some, river.InsertManyParams{Args: change{string(anyEdit().payload("milestone0"))}})
			}
			if _, err := inserter.InsertMany(ctx, some); err != nil {
				return err
			}
		}
		return nil
	}
	return relaying("River, 100 workers", 2_000, prepare, func(ctx context.Context, _ int64) (func() error, error) {
		c, err := river.NewClient[*sql.Tx](driver, &river.Config{
			Logger: testkit.Quiet, Workers: workers, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 100}},
			FetchCooldown: time.Millisecond, FetchPollInterval: 10 * time.Millisecond,
		})
		if err != nil {
			return nil, err
		}
		if err := c.Start(ctx); err != nil {
			return nil, err
		}
		return func() error { return c.Stop(context.WithoutCancel(ctx)) }, out.wait(ctx)
	})
}
