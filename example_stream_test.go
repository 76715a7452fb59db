package tracbus_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"log/slog"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
)

// A subscriber that was away catches up from a stream, which a publisher under
// Once appends to.
func ExampleSubscriber_Stream() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server, err := miniredis.Run() // stands for your Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	db, remove := tracDatabase(`INSERT INTO ticket (id, summary) VALUES (17, 'It does not start.')`)
	defer remove()
	defer db.Close()
	if err := streamTwoChanges(ctx, db, rdb); err != nil {
		log.Fatal(err)
	}

	saved := "1-0" // the id of the first change: it was handled before
	load := func() string { return saved }
	save := func(id string) { fmt.Println("handled", id); cancel() }
	reload := func() { fmt.Println("loading all tickets") }
	show := func(what ...any) { fmt.Println(what...) }
	followStream(ctx, rdb, load, save, reload, show)
	// Output:
	// joe map[milestone:m2]
	// handled 2-0
}

// followStream is code in README.md.
func followStream(ctx context.Context, rdb redis.UniversalClient, load func() string, save func(string), reload func(), show func(...any)) {
	subscriber := tracbus.NewSubscriber(rdb, tracbus.SubscriberConfig{})
	for entry, err := range subscriber.Stream(ctx, "trac:stream", load()) {
		switch e := entry.Event.(type) {
		case tracbus.Resync: // begun here, or some are missing: e.Reason, behind tid e.Behind up to e.UpTo
			reload()
		case tracbus.TicketChanged:
			show(e.Author, e.New)
		case nil: // the loop goes on
			show(err)
		}
		if entry.ID != "" {
			save(entry.ID) // it is handled
		}
	}
}

// streamTwoChanges is a tracker that lives for two changes.
func streamTwoChanges(ctx context.Context, db *sql.DB, rdb redis.UniversalClient) error {
	bus := tracbus.NewBus("myenv")
	all := bus.All(tracbus.Durable("redis"), tracbus.NewPublisher(rdb, tracbus.PublisherConfig{StreamKey: "trac:stream"}))
	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	go j.Run(context.Background())
	for _, milestone := range []string{"m1", "m2"} {
		_, err := j.Update(ctx, tracbus.Actor{Author: "joe"}, func(tx *tracbus.ModelTransaction) error {
			return tx.Save(ctx, tracbus.TicketEdit{ID: 17, Set: tracbus.Fields{"milestone": milestone}})
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(all.Wait(ctx), j.Close(ctx), bus.Close(ctx))
}
