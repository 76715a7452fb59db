package tracbus_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/tracbus/tracbus"
)

// Mails that must not be lost: of all processes one sends them, whoever made the
// changes, and another goes on if that one dies.
func ExampleOnce() {
	ctx := context.Background()
	db, remove := sqliteFile("")
	defer remove()
	bus := tracbus.NewBus("myenv")

	mails := tracbus.On(bus, tracbus.Durable("mail"), func(ctx context.Context, e tracbus.TicketChanged) error {
		// A mail may be sent again after a crash: by its Message-ID, which is the
		// same then, whoever gets it can tell.
		turn, _ := tracbus.LeaseFrom(ctx)
		id := fmt.Sprintf("<%d.%d.%s.%s@%s>", e.TID, e.Seq, e.CommitID, turn.Consumer, turn.JournalUUID)
		return sendMail(ctx, id, e.Values.Text("owner"), e.Author+" says: "+e.Comment) // an error: told again
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
	// Here to see the mail. Should the process die instead, the next one sends it.
	if err := errors.Join(journal.Wait(ctx, tid), mails.Wait(ctx)); err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(journal.Close(ctx), bus.Close(ctx), db.Close()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// to ann: joe says: It does here.
}

// sendMail stands for your mail library.
func sendMail(ctx context.Context, id, to, text string) error {
	_, err := fmt.Printf("to %s: %s\n", to, text)
	return err
}
