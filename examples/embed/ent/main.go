// Command ent is an application that keeps tickets in PostgreSQL with ent, which runs on transactions
// of the application's. The lines that are marked are what tracbus adds.
package main

import (
	"context"
	"database/sql"
	"os"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	_ "github.com/jackc/pgx/v5/stdlib"

	ent "github.com/tracbus/tracbus/examples/embed/ent/tickets"
	"github.com/tracbus/tracbus/examples/embed/internal/clerk"

	// With tracbus:
	"github.com/redis/go-redis/v9"
	"github.com/tracbus/tracbus"
)

type tickets struct {
	db      *sql.DB
	journal *tracbus.Journal // with tracbus
}

func main() {
	ctx := context.Background()
	db := clerk.Must(sql.Open("pgx", os.Getenv("DATABASE")))
	defer db.Close()
	t := &tickets{db: db}

	// With tracbus:
	bus := tracbus.NewBus("ent")
	bus.All(tracbus.Durable("redis"), tracbus.NewPublisher(redis.NewClient(&redis.Options{Addr: os.Getenv("REDIS")}), tracbus.PublisherConfig{StreamKey: "changes"}))
	t.journal = clerk.Must(tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.PostgreSQL}))
	go t.journal.Run(ctx)
	defer func() { t.journal.Close(ctx); bus.Close(ctx) }()

	clerk.Work(ctx, t)
}

// on returns ent on the database, or on a transaction.
func on(q entsql.ExecQuerier) *ent.TicketClient {
	return ent.NewClient(ent.Driver(within{entsql.NewDriver(dialect.Postgres, entsql.Conn{ExecQuerier: q})})).Ticket
}

// within is the driver of ent within a transaction that somebody else ends.
type within struct{ *entsql.Driver }

// Tx implements [dialect.Driver]: ent's own transaction, of one statement, is a part of that one.
func (w within) Tx(context.Context) (dialect.Tx, error) { return dialect.NopTx(w), nil }

func (t *tickets) IDs(ctx context.Context) ([]int64, error) {
	return on(t.db).Query().IDs(ctx)
}

func (t *tickets) Create(ctx context.Context, user, title string) (id int64, err error) {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	ticket, err := on(tx).Create().SetTitle(title).Save(ctx)
	if err != nil {
		return 0, err
	}
	if err := clerk.Check(title); err != nil {
		return 0, err
	}
	// Without tracbus: if err := tx.Commit(); err != nil {
	if _, err := t.journal.CommitWith(ctx, tx, tracbus.Actor{Author: user}, tx.Commit, tracbus.TicketCreated{ID: ticket.ID, Values: tracbus.Fields{"title": title}}); err != nil { // with tracbus
		return 0, err
	}
	return ticket.ID, nil
}

func (t *tickets) Change(ctx context.Context, user string, id int64, title string) error {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := on(tx).UpdateOneID(id).SetTitle(title).Save(ctx); err != nil {
		return err
	}
	if err := clerk.Check(title); err != nil {
		return err
	}
	// Without tracbus: return tx.Commit()
	// With tracbus:
	state := tracbus.State{Of: tracbus.TicketResource(id), Values: tracbus.Fields{"title": title}}
	_, err = t.journal.CommitWith(ctx, tx, tracbus.Actor{Author: user}, tx.Commit, state)
	return err
}

func (t *tickets) Delete(ctx context.Context, user string, id int64) error {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := on(tx).DeleteOneID(id).Exec(ctx); err != nil {
		return err
	}
	// Without tracbus: return tx.Commit()
	// With tracbus:
	gone := tracbus.State{Of: tracbus.TicketResource(id), Deleted: true}
	_, err = t.journal.CommitWith(ctx, tx, tracbus.Actor{Author: user}, tx.Commit, gone)
	return err
}
