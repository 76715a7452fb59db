// Command bun is an application that keeps tickets in MariaDB with bun. The lines that are
// marked are what tracbus adds.
package main

import (
	"context"
	"database/sql"
	"errors"
	"os"

	_ "github.com/go-sql-driver/mysql"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/mysqldialect"

	"github.com/tracbus/tracbus/examples/embed/internal/clerk"

	// With tracbus:
	"github.com/redis/go-redis/v9"
	"github.com/tracbus/tracbus"
)

type tickets struct {
	db      *bun.DB
	journal *tracbus.Journal // with tracbus
}

func main() {
	ctx := context.Background()
	db := bun.NewDB(clerk.Must(sql.Open("mysql", os.Getenv("DATABASE"))), mysqldialect.New())
	defer db.Close()
	t := &tickets{db: db}

	// With tracbus:
	bus := tracbus.NewBus("bun")
	bus.All(tracbus.Durable("redis"), tracbus.NewPublisher(redis.NewClient(&redis.Options{Addr: os.Getenv("REDIS")}), tracbus.PublisherConfig{StreamKey: "changes"}))
	t.journal = clerk.Must(tracbus.OpenJournal(ctx, db.DB, bus, tracbus.JournalConfig{Dialect: tracbus.MySQL}))
	go t.journal.Run(ctx)
	defer func() { t.journal.Close(ctx); bus.Close(ctx) }()

	clerk.Work(ctx, t)
}

type ticket struct {
	bun.BaseModel `bun:"table:ticket"`

	ID    int64 `bun:",pk,autoincrement"`
	Title string
}

func (t *tickets) IDs(ctx context.Context) (ids []int64, err error) {
	err = t.db.NewSelect().Model((*ticket)(nil)).Column("id").Scan(ctx, &ids)
	return ids, err
}

func (t *tickets) Create(ctx context.Context, user, title string) (id int64, err error) {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	row := ticket{Title: title}
	if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
		return 0, err
	}
	if err := clerk.Check(title); err != nil {
		return 0, err
	}
	// Without tracbus: if err := tx.Commit(); err != nil {
	if _, err := t.journal.CommitWith(ctx, tx.Tx, tracbus.Actor{Author: user}, tx.Commit, tracbus.TicketCreated{ID: row.ID, Values: tracbus.Fields{"title": title}}); err != nil { // with tracbus
		return 0, err
	}
	return row.ID, nil
}

func (t *tickets) Change(ctx context.Context, user string, id int64, title string) error {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	row := ticket{ID: id}
	if err := tx.NewSelect().Model(&row).WherePK().For("UPDATE").Scan(ctx); err != nil {
		return err
	}
	// Within a transaction, bun makes a savepoint of RunInTx: this one is rolled back to.
	_ = tx.RunInTx(ctx, nil, func(ctx context.Context, nested bun.Tx) error {
		_, err := nested.NewUpdate().Model(&ticket{ID: id, Title: "a draft of " + title}).WherePK().Exec(ctx)
		return errors.Join(err, errors.New("only a draft"))
	})
	if _, err := tx.NewUpdate().Model(&ticket{ID: id, Title: title}).WherePK().Exec(ctx); err != nil {
		return err
	}
	if err := clerk.Check(title); err != nil {
		return err
	}
	// Without tracbus: return tx.Commit()
	// With tracbus:
	changed := tracbus.TicketChanged{ID: id, Values: tracbus.Fields{"title": title}, Old: tracbus.Fields{"title": row.Title}}
	_, err = t.journal.CommitWith(ctx, tx.Tx, tracbus.Actor{Author: user}, tx.Commit, changed)
	return err
}

func (t *tickets) Delete(ctx context.Context, user string, id int64) error {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	row := ticket{ID: id}
	if err := tx.NewSelect().Model(&row).WherePK().For("UPDATE").Scan(ctx); err != nil {
		return err
	}
	if _, err := tx.NewDelete().Model(&row).WherePK().Exec(ctx); err != nil {
		return err
	}
	// Without tracbus: return tx.Commit()
	// With tracbus:
	deleted := tracbus.TicketDeleted{ID: id, Values: tracbus.Fields{"title": row.Title}}
	_, err = t.journal.CommitWith(ctx, tx.Tx, tracbus.Actor{Author: user}, tx.Commit, deleted)
	return err
}
