// Command xorm08 is an application on xorm 0.8, whose sessions do not give their transaction away. It
// makes three changes, of which one is rolled back, and prints what the journal has.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/tracbus/tracbus"
	"xorm.io/xorm"
)

type ticket struct {
	ID    int64 `xorm:"pk autoincr 'id'"`
	Title string
}

var errRefused = errors.New("a title of spam is refused")

type tickets struct {
	db      *xorm.Engine
	journal *tracbus.Journal
}

func main() {
	if err := run(context.Background(), os.Getenv("DATABASE")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, dsn string) (err error) {
	register()
	db, err := xorm.NewEngine("sqlite3", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Sync2(&ticket{}); err != nil {
		return err
	}
	bus := tracbus.NewBus("xorm08")
	j, err := tracbus.OpenJournal(ctx, db.DB().DB, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite, WriteOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close(ctx), bus.Close(ctx)) }()

	t := &tickets{db, j}
	return errors.Join(
		t.change(ctx, "joe", &ticket{Title: "It breaks."}),
		t.change(ctx, "spammer", &ticket{ID: 1, Title: "spam"}),
		t.change(ctx, "ann", &ticket{ID: 1, Title: "It works."}),
		t.print(ctx))
}

// change creates a ticket without an ID, and changes another one.
func (t *tickets) change(ctx context.Context, user string, row *ticket) error {
	var b begun
	session := t.db.NewSession().Context(b.in(ctx))
	defer session.Close() // rolls back what was not committed
	if err := session.Begin(); err != nil {
		return err
	}
	event, err := write(session, row)
	if errors.Is(err, errRefused) {
		return nil // and rolled back
	}
	if err != nil {
		return err
	}
	tx, release, err := b.sql(ctx)
	if err != nil {
		return err
	}
	defer release()
	commit := func() error {
		release() // because the connection is another session's after it
		return session.Commit()
	}
	_, err = t.journal.CommitWith(ctx, tx, tracbus.Actor{Author: user}, commit, event)
	return err
}

func write(session *xorm.Session, row *ticket) (tracbus.Event, error) {
	if row.ID == 0 {
		_, err := session.Insert(row)
		return tracbus.TicketCreated{ID: row.ID, Values: tracbus.Fields{"title": row.Title}}, err
	}
	var old ticket
	if _, err := session.ID(row.ID).Get(&old); err != nil {
		return nil, err
	}
	if _, err := session.ID(row.ID).Update(row); err != nil {
		return nil, err
	}
	if row.Title == "spam" {
		return nil, errRefused
	}
	return tracbus.TicketChanged{ID: row.ID, Values: tracbus.Fields{"title": row.Title}, Old: tracbus.Fields{"title": old.Title}}, nil
}

func (t *tickets) print(ctx context.Context) error {
	var rows []ticket
	if err := t.db.Find(&rows); err != nil {
		return err
	}
	fmt.Println("table:", rows)
	for e, err := range t.journal.Since(ctx, 0) {
		if err != nil {
			return err
		}
		switch e := e.(type) {
		case tracbus.TicketCreated:
			fmt.Println("journal:", e.Author, "created", e.Resource(), e.Values)
		case tracbus.TicketChanged:
			fmt.Println("journal:", e.Author, "changed", e.Resource(), e.Old, "to", e.New)
		}
	}
	return nil
}
