// Command gorm is an application that keeps tickets in PostgreSQL with GORM. The lines that are
// marked are what tracbus adds.
package main

import (
	"context"
	"errors"
	"os"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/tracbus/tracbus/examples/embed/internal/clerk"

	// With tracbus:
	"github.com/redis/go-redis/v9"
	"github.com/tracbus/tracbus"
)

type tickets struct {
	db      *gorm.DB
	journal *tracbus.Journal // with tracbus
}

func main() {
	ctx := context.Background()
	db := clerk.Must(gorm.Open(postgres.Open(os.Getenv("DATABASE")), &gorm.Config{Logger: logger.Discard}))
	pool := clerk.Must(db.DB())
	defer pool.Close()
	t := &tickets{db: db}

	// With tracbus:
	bus := tracbus.NewBus("gorm")
	bus.All(tracbus.Durable("redis"), tracbus.NewPublisher(redis.NewClient(&redis.Options{Addr: os.Getenv("REDIS")}), tracbus.PublisherConfig{StreamKey: "changes"}))
	t.journal = clerk.Must(tracbus.OpenJournal(ctx, pool, bus, tracbus.JournalConfig{Dialect: tracbus.PostgreSQL}))
	go t.journal.Run(ctx)
	defer func() { t.journal.Close(ctx); bus.Close(ctx) }()

	clerk.Work(ctx, t)
}

type ticket struct {
	ID    int64
	Title string
}

func (ticket) TableName() string { return "ticket" }

func (t *tickets) IDs(ctx context.Context) (ids []int64, err error) {
	err = t.db.WithContext(ctx).Model(&ticket{}).Pluck("id", &ids).Error
	return ids, err
}

func (t *tickets) Create(ctx context.Context, user, title string) (id int64, err error) {
	tx := t.db.WithContext(ctx).Begin()
	if tx.Error != nil {
		return 0, tx.Error
	}
	defer tx.Rollback()
	row := ticket{Title: title}
	if err := tx.Create(&row).Error; err != nil {
		return 0, err
	}
	if err := clerk.Check(title); err != nil {
		return 0, err
	}
	// Without tracbus: if err := tx.Commit().Error; err != nil {
	if _, err := t.journal.CommitWith(ctx, tx.Statement.ConnPool, tracbus.Actor{Author: user}, func() error { return tx.Commit().Error }, tracbus.TicketCreated{ID: row.ID, Values: tracbus.Fields{"title": title}}); err != nil { // with tracbus
		return 0, err
	}
	return row.ID, nil
}

func (t *tickets) Change(ctx context.Context, user string, id int64, title string) error {
	tx := t.db.WithContext(ctx).Begin()
	if tx.Error != nil {
		return tx.Error
	}
	defer tx.Rollback()
	var row ticket
	if err := tx.Clauses(clause.Locking{Strength: "UPDATE"}).First(&row, id).Error; err != nil {
		return err
	}
	// Within a transaction, GORM makes a savepoint of Transaction: this one is rolled back to.
	_ = tx.Transaction(func(nested *gorm.DB) error {
		return errors.Join(nested.Model(&ticket{ID: id}).Update("title", "a draft of "+title).Error, errors.New("only a draft"))
	})
	if err := tx.Model(&ticket{ID: id}).Update("title", title).Error; err != nil {
		return err
	}
	if err := clerk.Check(title); err != nil {
		return err
	}
	// Without tracbus: return tx.Commit().Error
	// With tracbus:
	changed := tracbus.TicketChanged{ID: id, Values: tracbus.Fields{"title": title}, Old: tracbus.Fields{"title": row.Title}}
	_, err := t.journal.CommitWith(ctx, tx.Statement.ConnPool, tracbus.Actor{Author: user}, func() error { return tx.Commit().Error }, changed)
	return err
}

func (t *tickets) Delete(ctx context.Context, user string, id int64) error {
	tx := t.db.WithContext(ctx).Begin()
	if tx.Error != nil {
		return tx.Error
	}
	defer tx.Rollback()
	var row ticket
	if err := tx.Clauses(clause.Locking{Strength: "UPDATE"}).First(&row, id).Error; err != nil {
		return err
	}
	if err := tx.Delete(&row).Error; err != nil {
		return err
	}
	// Without tracbus: return tx.Commit().Error
	// With tracbus:
	deleted := tracbus.TicketDeleted{ID: id, Values: tracbus.Fields{"title": row.Title}}
	_, err := t.journal.CommitWith(ctx, tx.Statement.ConnPool, tracbus.Actor{Author: user}, func() error { return tx.Commit().Error }, deleted)
	return err
}
