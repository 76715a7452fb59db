// Command sqlc is an application that keeps tickets in MariaDB with code as sqlc generates it. The lines that are
// marked are what tracbus adds.
package main

import (
	"context"
	"database/sql"
	"os"

	_ "github.com/go-sql-driver/mysql"

	"github.com/tracbus/tracbus/examples/embed/sqlc/queries"

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
	db := clerk.Must(sql.Open("mysql", os.Getenv("DATABASE")))
	defer db.Close()
	t := &tickets{db: db}

	// With tracbus:
	bus := tracbus.NewBus("sqlc")
	bus.All(tracbus.Durable("redis"), tracbus.NewPublisher(redis.NewClient(&redis.Options{Addr: os.Getenv("REDIS")}), tracbus.PublisherConfig{StreamKey: "changes"}))
	t.journal = clerk.Must(tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.MySQL}))
	go t.journal.Run(ctx)
	defer func() { t.journal.Close(ctx); bus.Close(ctx) }()

	clerk.Work(ctx, t)
}

func (t *tickets) IDs(ctx context.Context) (ids []int64, err error) {
	return queries.New(t.db).ListTickets(ctx)
}

func (t *tickets) Create(ctx context.Context, user, title string) (id int64, err error) {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	q := queries.New(tx)
	id, err = q.CreateTicket(ctx, title)
	if err != nil {
		return 0, err
	}
	if err := clerk.Check(title); err != nil {
		return 0, err
	}
	// Without tracbus: if err := tx.Commit(); err != nil {
	if _, err := t.journal.CommitWith(ctx, tx, tracbus.Actor{Author: user}, tx.Commit, tracbus.TicketCreated{ID: id, Values: tracbus.Fields{"title": title}}); err != nil { // with tracbus
		return 0, err
	}
	return id, nil
}

func (t *tickets) Change(ctx context.Context, user string, id int64, title string) error {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	q := queries.New(tx)
	old, err := q.LockTicket(ctx, id)
	if err != nil || old == title {
		return err
	}
	if err := q.UpdateTicket(ctx, queries.UpdateTicketParams{ID: id, Title: title}); err != nil {
		return err
	}
	if err := clerk.Check(title); err != nil {
		return err
	}
	// Without tracbus: return tx.Commit()
	// With tracbus:
	changed := tracbus.TicketChanged{ID: id, Values: tracbus.Fields{"title": title}, Old: tracbus.Fields{"title": old}}
	_, err = t.journal.CommitWith(ctx, tx, tracbus.Actor{Author: user}, tx.Commit, changed)
	return err
}

func (t *tickets) Delete(ctx context.Context, user string, id int64) error {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	q := queries.New(tx)
	// Without tracbus: _, err = q.LockTicket(ctx, id)
	title, err := q.LockTicket(ctx, id) // with tracbus
	if err != nil {
		return err
	}
	if err := q.DeleteTicket(ctx, id); err != nil {
		return err
	}
	// Without tracbus: return tx.Commit()
	// With tracbus:
	_, err = t.journal.CommitWith(ctx, tx, tracbus.Actor{Author: user}, tx.Commit, tracbus.TicketDeleted{ID: id, Values: tracbus.Fields{"title": title}})
	return err
}
