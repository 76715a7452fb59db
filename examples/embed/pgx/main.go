// Command pgx is an application that keeps tickets in PostgreSQL with pgx alone, without package sql. The lines that are
// marked are what tracbus adds.
package main

import (
	"context"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tracbus/tracbus/examples/embed/internal/clerk"

	// With tracbus:
	"github.com/redis/go-redis/v9"
	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/pgxbus"
)

type tickets struct {
	db      *pgxpool.Pool
	journal *pgxbus.Journal // with tracbus
}

func main() {
	ctx := context.Background()
	db := clerk.Must(pgxpool.New(ctx, os.Getenv("DATABASE")))
	defer db.Close()
	t := &tickets{db: db}

	// With tracbus:
	bus := tracbus.NewBus("pgx")
	bus.All(tracbus.Durable("redis"), tracbus.NewPublisher(redis.NewClient(&redis.Options{Addr: os.Getenv("REDIS")}), tracbus.PublisherConfig{StreamKey: "changes"}))
	t.journal = clerk.Must(pgxbus.Open(ctx, db, bus, tracbus.JournalConfig{}))
	go t.journal.Run(ctx)
	defer func() { t.journal.Close(ctx); bus.Close(ctx) }()

	clerk.Work(ctx, t)
}

func (t *tickets) IDs(ctx context.Context) (ids []int64, err error) {
	rows, err := t.db.Query(ctx, `SELECT id FROM ticket`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

func (t *tickets) Create(ctx context.Context, user, title string) (id int64, err error) {
	tx, err := t.db.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback(ctx)
	if err := tx.QueryRow(ctx, `INSERT INTO ticket (title) VALUES ($1) RETURNING id`, title).Scan(&id); err != nil {
		return 0, err
	}
	if err := clerk.Check(title); err != nil {
		return 0, err
	}
	// Without tracbus: if err := tx.Commit(ctx); err != nil {
	if _, err := t.journal.CommitWith(ctx, tx, tracbus.Actor{Author: user}, tracbus.TicketCreated{ID: id, Values: tracbus.Fields{"title": title}}); err != nil { // with tracbus
		return 0, err
	}
	return id, nil
}

func (t *tickets) Change(ctx context.Context, user string, id int64, title string) error {
	tx, err := t.db.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	var old string
	if err := tx.QueryRow(ctx, `SELECT title FROM ticket WHERE id = $1 FOR UPDATE`, id).Scan(&old); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE ticket SET title = $1 WHERE id = $2`, title, id); err != nil {
		return err
	}
	if err := clerk.Check(title); err != nil {
		return err
	}
	// Without tracbus: return tx.Commit(ctx)
	// With tracbus:
	changed := tracbus.TicketChanged{ID: id, Values: tracbus.Fields{"title": title}, Old: tracbus.Fields{"title": old}}
	_, err = t.journal.CommitWith(ctx, tx, tracbus.Actor{Author: user}, changed)
	return err
}

func (t *tickets) Delete(ctx context.Context, user string, id int64) error {
	tx, err := t.db.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	var title string
	if err := tx.QueryRow(ctx, `DELETE FROM ticket WHERE id = $1 RETURNING title`, id).Scan(&title); err != nil {
		return err
	}
	// Without tracbus: return tx.Commit(ctx)
	// With tracbus:
	deleted := tracbus.TicketDeleted{ID: id, Values: tracbus.Fields{"title": title}}
	_, err = t.journal.CommitWith(ctx, tx, tracbus.Actor{Author: user}, deleted)
	return err
}
