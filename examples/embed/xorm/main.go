// Command xorm is an application that keeps tickets in SQLite with xorm. The lines that are
// marked are what tracbus adds.
package main

import (
	"cmp"
	"context"
	"errors"
	"os"

	_ "modernc.org/sqlite"
	"xorm.io/xorm"

	"github.com/tracbus/tracbus/examples/embed/internal/clerk"

	// With tracbus:
	"github.com/redis/go-redis/v9"
	"github.com/tracbus/tracbus"
)

type tickets struct {
	db      *xorm.Engine
	journal *tracbus.Journal // with tracbus
}

func main() {
	ctx := context.Background()
	db := clerk.Must(xorm.NewEngine("sqlite", os.Getenv("DATABASE")))
	defer db.Close()
	t := &tickets{db: db}

	// With tracbus:
	bus := tracbus.NewBus("xorm")
	bus.All(tracbus.Durable("redis"), tracbus.NewPublisher(redis.NewClient(&redis.Options{Addr: os.Getenv("REDIS")}), tracbus.PublisherConfig{StreamKey: "changes"}))
	t.journal = clerk.Must(tracbus.OpenJournal(ctx, db.DB().DB, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite}))
	go t.journal.Run(ctx)
	defer func() { t.journal.Close(ctx); bus.Close(ctx) }()

	clerk.Work(ctx, t)
}

type ticket struct {
	ID    int64 `xorm:"pk autoincr 'id'"`
	Title string
}

var errGone = errors.New("the ticket is gone")

func (t *tickets) IDs(ctx context.Context) (ids []int64, err error) {
	err = t.db.Context(ctx).Table("ticket").Cols("id").Find(&ids)
	return ids, err
}

func (t *tickets) Create(ctx context.Context, user, title string) (id int64, err error) {
	session := t.db.NewSession().Context(ctx)
	defer session.Close() // rolls back what was not committed
	if err := session.Begin(); err != nil {
		return 0, err
	}
	row := ticket{Title: title}
	if _, err := session.Insert(&row); err != nil {
		return 0, err
	}
	if err := clerk.Check(title); err != nil {
		return 0, err
	}
	// Without tracbus: if err := session.Commit(); err != nil {
	if _, err := t.journal.CommitWith(ctx, session.Tx().Tx, tracbus.Actor{Author: user}, session.Commit, tracbus.TicketCreated{ID: row.ID, Values: tracbus.Fields{"title": title}}); err != nil { // with tracbus
		return 0, err
	}
	return row.ID, nil
}

func (t *tickets) Change(ctx context.Context, user string, id int64, title string) error {
	session := t.db.NewSession().Context(ctx)
	defer session.Close() // rolls back what was not committed
	if err := session.Begin(); err != nil {
		return err
	}
	var row ticket
	if found, err := session.ID(id).Get(&row); err != nil || !found {
		return cmp.Or(err, errGone)
	}
	if _, err := session.ID(id).Update(&ticket{Title: title}); err != nil {
		return err
	}
	if err := clerk.Check(title); err != nil {
		return err
	}
	// Without tracbus: return session.Commit()
	// With tracbus:
	changed := tracbus.TicketChanged{ID: id, Values: tracbus.Fields{"title": title}, Old: tracbus.Fields{"title": row.Title}}
	_, err := t.journal.CommitWith(ctx, session.Tx().Tx, tracbus.Actor{Author: user}, session.Commit, changed)
	return err
}

func (t *tickets) Delete(ctx context.Context, user string, id int64) error {
	session := t.db.NewSession().Context(ctx)
	defer session.Close() // rolls back what was not committed
	if err := session.Begin(); err != nil {
		return err
	}
	var row ticket
	if found, err := session.ID(id).Get(&row); err != nil || !found {
		return cmp.Or(err, errGone)
	}
	if _, err := session.ID(id).Delete(&ticket{}); err != nil {
		return err
	}
	// Without tracbus: return session.Commit()
	// With tracbus:
	deleted := tracbus.TicketDeleted{ID: id, Values: tracbus.Fields{"title": row.Title}}
	_, err := t.journal.CommitWith(ctx, session.Tx().Tx, tracbus.Actor{Author: user}, session.Commit, deleted)
	return err
}
