// Command sqlx is an application that keeps tickets and tasks in PostgreSQL with sqlx. The lines that are
// marked are what tracbus adds.
package main

import (
	"context"
	"os"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/tracbus/tracbus/examples/embed/internal/clerk"

	// With tracbus:
	"github.com/redis/go-redis/v9"
	"github.com/tracbus/tracbus"
)

type tickets struct {
	db      *sqlx.DB
	journal *tracbus.Journal // with tracbus
}

func main() {
	ctx := context.Background()
	db := clerk.Must(sqlx.Open("pgx", os.Getenv("DATABASE")))
	defer db.Close()
	t := &tickets{db: db}

	// With tracbus:
	bus := tracbus.NewBus("sqlx")
	bus.All(tracbus.Durable("redis"), tracbus.NewPublisher(redis.NewClient(&redis.Options{Addr: os.Getenv("REDIS")}), tracbus.PublisherConfig{StreamKey: "changes"}))
	t.journal = clerk.Must(tracbus.OpenJournal(ctx, db.DB, bus, tracbus.JournalConfig{Dialect: tracbus.PostgreSQL, Realms: []tracbus.JournalRealm{tracbus.Tickets{}, tracbus.Resources("task")}}))
	go t.journal.Run(ctx)
	defer func() { t.journal.Close(ctx); bus.Close(ctx) }()

	clerk.Work(ctx, t)
}

func (t *tickets) IDs(ctx context.Context) (ids []int64, err error) {
	err = t.db.SelectContext(ctx, &ids, `SELECT id FROM ticket`)
	return ids, err
}

func (t *tickets) Create(ctx context.Context, user, title string) (id int64, err error) {
	tx, err := t.db.BeginTxx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	if err := tx.GetContext(ctx, &id, `INSERT INTO ticket (title) VALUES ($1) RETURNING id`, title); err != nil {
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
	tx, err := t.db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var old string
	if err := tx.GetContext(ctx, &old, `SELECT title FROM ticket WHERE id = $1 FOR UPDATE`, id); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE ticket SET title = $1 WHERE id = $2`, title, id); err != nil {
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
	tx, err := t.db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var title string
	if err := tx.GetContext(ctx, &title, `DELETE FROM ticket WHERE id = $1 RETURNING title`, id); err != nil {
		return err
	}
	// Without tracbus: return tx.Commit()
	// With tracbus:
	deleted := tracbus.TicketDeleted{ID: id, Values: tracbus.Fields{"title": title}}
	_, err = t.journal.CommitWith(ctx, tx, tracbus.Actor{Author: user}, tx.Commit, deleted)
	return err
}

// Do makes or changes a task, and does not read what it was before: the journal knows.
func (t *tickets) Do(ctx context.Context, user, name, title string) error {
	tx, err := t.db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `INSERT INTO task (id, title) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET title = excluded.title`, name, title); err != nil {
		return err
	}
	if err := clerk.Check(title); err != nil {
		return err
	}
	// Without tracbus: return tx.Commit()
	// With tracbus:
	state := tracbus.State{Of: tracbus.Resources("task").Of(name), Values: tracbus.Fields{"title": title}}
	_, err = t.journal.CommitWith(ctx, tx, tracbus.Actor{Author: user}, tx.Commit, state)
	return err
}
