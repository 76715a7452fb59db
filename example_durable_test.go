package tracbus_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tracbus/tracbus"
)

// Mails that must not be lost: one of all processes sends them, whoever made the
// changes, and another continues if that one dies.
func ExampleDurable() {
	ctx := context.Background()
	db, remove := openFile("")
	defer remove()
	bus := tracbus.NewBus("myenv")

	mails := tracbus.On(bus, tracbus.Durable("mail"), func(ctx context.Context, e tracbus.TicketChanged) error {
		// After a crash, a mail may be sent again. It then has the same Message-ID, by
		// which mail programs recognise it.
		lease, _ := tracbus.LeaseFrom(ctx)
		id := fmt.Sprintf("<%d.%d.%s.%s@%s>", e.TID, e.Seq, e.CommitID, lease.Consumer, lease.JournalUUID)
		return sendMail(ctx, id, e.Values.Text("owner"), e.Author+" says: "+e.Comment) // after an error it is called again
	})

	journal, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	go journal.Run(ctx) // until it is closed
	tid, err := journal.Update(ctx, tracbus.Actor{Author: "joe"}, func(tx *tracbus.ModelTransaction) error {
		return tx.Record(ctx, tracbus.TicketChanged{
			Change: tracbus.Change{Comment: "It does here."}, ID: 17, Values: tracbus.Fields{"owner": "ann"},
		})
	})
	if err != nil {
		log.Fatal(err)
	}
	// To see the mail here. If the process dies instead, the next one sends it.
	if err := errors.Join(journal.Wait(ctx, tid), mails.Wait(ctx)); err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(journal.Close(ctx), bus.Close(ctx), db.Close()); err != nil {
		log.Fatal(err)
	}
	// Prints:
	// to ann: joe says: It does here.
}

// sendMail stands for your mail library.
func sendMail(ctx context.Context, id, to, text string) error {
	_, err := fmt.Printf("to %s: %s\n", to, text)
	return err
}

// A change on which the listener fails again and again becomes a dead letter, so that
// the consumer continues. It is redelivered when the cause is gone.
func ExampleJournal_Redeliver() {
	ctx := context.Background()
	db, remove := openFile("")
	defer remove()
	bus := tracbus.BusConfig{Logger: slog.New(slog.DiscardHandler)}.NewBus("myenv")

	var broken atomic.Bool // for ticket 17
	broken.Store(true)
	delivered := make(chan int64, 8)
	scope := tracbus.DurableConfig{MaxAttempts: 2, Backoff: time.Millisecond}.Durable("webhook")
	tracbus.On(bus, scope, func(ctx context.Context, e tracbus.TicketCreated) error {
		if broken.Load() && e.ID == 17 {
			return errors.New("the webhook answers 500")
		}
		delivered <- e.ID
		return nil
	})
	journal, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{
		Dialect: tracbus.SQLite, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	go journal.Run(ctx)
	_, err = journal.Update(ctx, tracbus.Actor{Author: "joe"}, func(tx *tracbus.ModelTransaction) error {
		return errors.Join(
			tx.Record(ctx, tracbus.TicketCreated{ID: 17}),
			tx.Record(ctx, tracbus.TicketCreated{ID: 18}),
		)
	})
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println("delivered ticket", <-delivered)
	for letter, err := range journal.DeadLetters(ctx, "webhook") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(letter.Resource, "failed", letter.Attempts, "times:", letter.Err)
	}
	broken.Store(false)
	if _, err := journal.Redeliver(ctx, "webhook"); err != nil {
		log.Fatal(err)
	}
	fmt.Println("delivered ticket", <-delivered)
	if err := errors.Join(journal.Close(ctx), bus.Close(ctx), db.Close()); err != nil {
		log.Fatal(err)
	}
	// Prints:
	// delivered ticket 18
	// ticket 17 failed 2 times: the webhook answers 500
	// delivered ticket 17
}
