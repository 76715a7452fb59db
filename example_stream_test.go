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

// A subscriber that was away catches up from a stream, to which a publisher under
// Durable appends.
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
	db, remove := openFile("")
	defer remove()
	defer db.Close()
	if err := streamTwoChanges(ctx, db, rdb); err != nil {
		log.Fatal(err)
	}

	saved := "1-0" // the id of the first change: it was handled before
	subscriber := tracbus.NewSubscriber(rdb, tracbus.SubscriberConfig{})
	for entry, err := range subscriber.Stream(ctx, "trac:stream", saved) {
		switch e := entry.Event.(type) {
		case tracbus.Resync: // the stream begins here for us, or some changes are missing
			fmt.Println("load the tickets: missed after tid", e.After, "up to", e.Through)
		case tracbus.TicketChanged:
			fmt.Println(e.Author, e.New)
		case nil: // an error; the loop goes on
			fmt.Println(err)
		}
		saved = entry.ID // it is handled: store the id
		fmt.Println("handled", saved)
		cancel() // a real program goes on
	}
	// Prints:
	// joe map[milestone:m2]
	// handled 2-0
}

// streamTwoChanges is a tracker that lives for two changes.
func streamTwoChanges(ctx context.Context, db *sql.DB, rdb redis.UniversalClient) error {
	bus := tracbus.NewBus("myenv")
	published := bus.All(tracbus.Durable("redis"), tracbus.NewPublisher(rdb, tracbus.PublisherConfig{StreamKey: "trac:stream"}))
	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	go j.Run(context.Background())
	for _, milestone := range []string{"m1", "m2"} {
		_, err := j.Update(ctx, tracbus.Actor{Author: "joe"}, func(tx *tracbus.ModelTransaction) error {
			return tx.Record(ctx, tracbus.TicketChanged{
				ID: 17, Values: tracbus.Fields{"milestone": milestone}, Old: tracbus.Fields{"milestone": "m0"},
			})
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(published.Wait(ctx), j.Close(ctx), bus.Close(ctx))
}
