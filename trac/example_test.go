package trac_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac"
)

// One ticket is created, and another one is changed, in one transaction. A Trac on the
// same database shows both.
func ExampleTicketEdit() {
	ctx := context.Background()
	db, remove := tracDatabase(`INSERT INTO ticket (id, summary, status, milestone) VALUES (17, 'It does not start.', 'new', '')`)
	defer remove()
	bus := tracbus.NewBus("myenv")
	tracbus.On(bus, tracbus.Everywhere, func(ctx context.Context, e tracbus.TicketCreated) error {
		_, err := fmt.Printf("%s created %s: %s\n", e.Author, e.Resource(), e.Values.Text("summary"))
		return err
	})
	tracbus.On(bus, tracbus.Everywhere, func(ctx context.Context, e tracbus.TicketChanged) error {
		_, err := fmt.Printf("%s changed %s: %v, before %v: %s\n", e.Author, e.Resource(), e.New, e.Old, e.Comment)
		return err
	})
	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	go j.Run(context.Background()) // until Close

	var id int64
	tid, err := j.Update(ctx, tracbus.Actor{Author: "joe", IPNR: "192.0.2.17", Authenticated: true},
		func(tx *tracbus.ModelTransaction) error {
			return errors.Join(
				tx.Save(ctx, trac.TicketCreate{Set: tracbus.Fields{"summary": "It is slow."}, AssignedID: &id}),
				tx.Save(ctx, trac.TicketEdit{ID: 17, Set: tracbus.Fields{"milestone": "m1"}, Comment: "Not now."}),
			)
		})
	if err != nil {
		log.Fatal(err)
	}
	if err := j.Wait(ctx, tid); err != nil {
		log.Fatal(err)
	}
	fmt.Println("the new ticket is", id)
	if err := errors.Join(j.Close(ctx), bus.Close(ctx), db.Close()); err != nil {
		log.Fatal(err)
	}
	// Unordered prints:
	// joe created ticket 18: It is slow.
	// joe changed ticket 17: map[milestone:m1], before map[milestone:]: Not now.
	// the new ticket is 18
}

// An edit of a page that somebody else has changed meanwhile is refused.
func ExamplePageEdit() {
	ctx := context.Background()
	db, remove := tracDatabase("")
	defer remove()
	bus := tracbus.NewBus("myenv")
	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite})
	if err != nil {
		log.Fatal(err)
	}

	save := func(author, text string, base int64) error {
		_, err := j.Update(ctx, tracbus.Actor{Author: author}, func(tx *tracbus.ModelTransaction) error {
			return tx.Save(ctx, trac.PageEdit{Name: "WikiStart", Text: &text, Base: base})
		})
		return err
	}
	fmt.Println(save("ann", "Welcome", trac.NoPage))
	fmt.Println(save("ann", "Welcome to all", 1))
	err = save("joe", "Hello", 1) // made from version 1 too
	fmt.Println("conflict:", errors.Is(err, tracbus.ErrConflict))

	for event, err := range j.History(ctx, tracbus.PageResource("WikiStart")) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.About().Author, event.Kind(), event.Resource())
	}
	if err := errors.Join(j.Close(ctx), bus.Close(ctx), db.Close()); err != nil {
		log.Fatal(err)
	}
	// Prints:
	// <nil>
	// <nil>
	// conflict: true
	// ann created wiki WikiStart
	// ann changed wiki WikiStart
}

// pageTexts is a cache of Trac's pages in every process.
type pageTexts map[string]string

// Load makes it a LoadListener: it is loaded from Trac's tables.
func (c pageTexts) Load(ctx context.Context, s *tracbus.Snapshot) error {
	clear(c)
	for name, err := range trac.LoadPageNames(ctx, s) {
		if err != nil {
			return err
		}
		page, _, err := trac.LoadPage(ctx, s, name)
		if err != nil {
			return err
		}
		c[name] = page.Text
	}
	return nil
}

func (c pageTexts) WikiPageCreated(ctx context.Context, e tracbus.WikiPageCreated) error {
	c[e.Page.Name] = e.Page.Text
	return nil
}

func (c pageTexts) WikiPageChanged(ctx context.Context, e tracbus.WikiPageChanged) error {
	c[e.Page.Name] = e.Page.Text
	return nil
}

func (c pageTexts) WikiPageDeleted(ctx context.Context, e tracbus.WikiPageDeleted) error {
	delete(c, e.Page.Name)
	return nil
}

// WikiPageRenamed makes it a WikiPageRenamedListener, as a cache of pages should be.
func (c pageTexts) WikiPageRenamed(ctx context.Context, e tracbus.WikiPageRenamed) error {
	delete(c, e.OldName)
	c[e.Page.Name] = e.Page.Text
	return nil
}

// WikiPageVersionDeleted does not say which text is the newest now.
func (c pageTexts) WikiPageVersionDeleted(ctx context.Context, e tracbus.WikiPageVersionDeleted) error {
	return tracbus.ErrNeedsLoad
}

// A cache that starts with what is in Trac's tables.
func ExampleLoadPage() {
	ctx := context.Background()
	db, remove := tracDatabase(`INSERT INTO wiki (name, version, text) VALUES ('One', 1, 'first'), ('Two', 1, 'second')`)
	defer remove()
	bus := tracbus.NewBus("myenv")
	cache := pageTexts{}
	bus.Wiki(tracbus.Everywhere, cache)
	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	go j.Run(context.Background())

	tid, err := j.Update(ctx, tracbus.Actor{Author: "ann"}, func(tx *tracbus.ModelTransaction) error {
		return errors.Join(
			tx.Save(ctx, trac.PageEdit{Name: "One", Text: new("better"), Base: 1}),
			tx.Save(ctx, trac.PageRename{Name: "Two", NewName: "Three"}),
		)
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := j.Wait(ctx, tid); err != nil {
		log.Fatal(err)
	}
	fmt.Println(cache)
	if err := errors.Join(j.Close(ctx), bus.Close(ctx), db.Close()); err != nil {
		log.Fatal(err)
	}
	// Prints:
	// map[One:better Three:second]
}

// tracDatabase returns a new SQLite file with Trac's tables, after the statements. An
// application imports a driver: _ "modernc.org/sqlite". This module has none, so that
// these examples are run by the module tests.
func tracDatabase(statements string) (db *sql.DB, remove func()) {
	tables, err := os.ReadFile(filepath.Join("..", "examples", "internal", "tracdb", "trac.sql"))
	if err != nil {
		log.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "trac")
	if err != nil {
		log.Fatal(err)
	}
	db, err = sql.Open("sqlite", "file:"+filepath.Join(folder, "trac.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		log.Fatal(err)
	}
	sqlite := strings.NewReplacer("{counted}", "INTEGER PRIMARY KEY", "{text}", "TEXT", "{options}", "")
	if _, err := db.Exec(sqlite.Replace(string(tables)) + statements); err != nil {
		log.Fatal(err)
	}
	return db, func() { _ = os.RemoveAll(folder) }
}
