// Realm shows that a realm of your own costs one file and a table. The file
// milestone.go has all of it: the events, the realm, the listener interface, and a
// model that writes the table. The program creates, changes and deletes a
// milestone, and prints what a listener, a subscriber to Redis and the history of
// the milestone say. It brings an SQLite file and an in-process Redis:
//
//	go run ./examples/realm
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/examples/internal/tracdb"
	"github.com/tracbus/tracbus/internal/plain"
)

func main() {
	log.SetFlags(0)
	if err := run(os.Stdout); err != nil {
		log.Fatal("realm: ", plain.Line(err.Error()))
	}
}

func run(out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	folder, err := os.MkdirTemp("", "realm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	db, err := sql.Open("sqlite", tracdb.File(filepath.Join(folder, "tracker.db")))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, milestoneTable); err != nil {
		return err
	}
	server, err := miniredis.Run()
	if err != nil {
		return err
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	pubsub := rdb.PSubscribe(ctx, "trac.demo.*")
	defer pubsub.Close()
	if _, err := pubsub.Receive(ctx); err != nil { // the subscription is active
		return err
	}

	bus := tracbus.NewBus("demo")
	publisher := tracbus.NewPublisher(rdb, tracbus.PublisherConfig{})
	published := bus.All(tracbus.Durable("redis"), publisher)
	ListenToMilestones(bus, tracbus.Everywhere, printer{out})
	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{
		Dialect: tracbus.SQLite,
		Realms:  []tracbus.JournalRealm{tracbus.Tickets{}, tracbus.Pages{}, Milestones{}},
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	go j.Run(ctx) // until Close

	if err := story(ctx, out, j); err != nil {
		return err
	}
	if err := published.Wait(ctx); err != nil {
		return err
	}
	message, err := pubsub.ReceiveMessage(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Redis: %s %s\n", plain.Line(message.Channel), plain.Line(message.Payload))
	for e, err := range j.History(ctx, tracbus.Resource{Realm: MilestoneRealm, ID: "1.0"}) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "History: tid %d, %s by %s\n", e.About().TID, e.Kind(), plain.Word(e.About().Author))
	}
	return errors.Join(j.Close(ctx), bus.Close(ctx))
}

// story makes the changes, each in a transaction of its own.
func story(ctx context.Context, out io.Writer, j *tracbus.Journal) error {
	due := time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		author string
		edit   MilestoneEdit
		delete bool
	}{
		{author: "ann", edit: MilestoneEdit{Name: "1.0", Due: due, Description: "First"}},
		{author: "bob", edit: MilestoneEdit{Name: "1.0", Description: "When it is done", Base: 1}},
		{author: "ann", edit: MilestoneEdit{Name: "1.0", Due: due, Description: "In time", Base: 1}}, // she saw version 1
		{author: "bob", edit: MilestoneEdit{Name: "1.0", Description: "When it is done", Base: 2}},   // nothing is different
		{author: "ann", edit: MilestoneEdit{Name: "1.0", Base: 2}, delete: true},
	} {
		tid, err := j.Update(ctx, tracbus.Actor{Author: step.author}, func(tx *tracbus.ModelTransaction) error {
			if step.delete {
				return tx.Delete(ctx, step.edit)
			}
			return tx.Save(ctx, step.edit)
		})
		switch {
		case errors.Is(err, tracbus.ErrConflict):
			fmt.Fprintf(out, "Conflict: %v\n", err)
		case err != nil:
			return err
		case tid == 0:
			fmt.Fprintln(out, "Nothing is different, so nothing is stored")
		default:
			if err := j.Wait(ctx, tid); err != nil { // the listener has printed it
				return err
			}
		}
	}
	return nil
}

// printer is a listener that prints what it hears.
type printer struct{ out io.Writer }

// MilestoneCreated implements [MilestoneListener].
func (p printer) MilestoneCreated(_ context.Context, e MilestoneCreated) error {
	return p.print(e, fmt.Sprintf("due %s, %q", date(e.Milestone.Due), e.Milestone.Description))
}

// MilestoneChanged implements [MilestoneListener].
func (p printer) MilestoneChanged(_ context.Context, e MilestoneChanged) error {
	return p.print(e, fmt.Sprintf("due %s, %q; before due %s, %q",
		date(e.Milestone.Due), e.Milestone.Description, date(e.Before.Due), e.Before.Description))
}

// MilestoneDeleted implements [MilestoneListener].
func (p printer) MilestoneDeleted(_ context.Context, e MilestoneDeleted) error {
	return p.print(e, fmt.Sprintf("due %s, %q", date(e.Milestone.Due), e.Milestone.Description))
}

func (p printer) print(e tracbus.Event, what string) error {
	_, err := fmt.Fprintf(p.out, "Listener: tid %d, %s %s by %s: %s\n", e.About().TID, e.Resource(), e.Kind(), e.About().Author, what)
	return err
}

func date(t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	return t.Format(time.DateOnly)
}
