package pages_test

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
	"github.com/tracbus/tracbus/pages"
	"github.com/tracbus/tracbus/trac"
)

// Prefixes of links, as the page InterMapTxt says, in every process.
func ExampleInterMap() {
	ctx := context.Background()
	db, remove := tracDatabase()
	defer remove()
	bus := tracbus.NewBus("myenv")
	interMap := pages.NewInterMap(pages.InterMapConfig{})
	bus.Wiki(tracbus.Everywhere, interMap)
	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	go j.Run(context.Background()) // until Close

	err = edit(ctx, j, "InterMapTxt", `
----
PEP  https://peps.python.org/pep-$1  # Python Enhancement Proposal $1
----
`)
	if err != nil {
		log.Fatal(err)
	}
	url, title, ok := interMap.Expand("pep", "0008")
	fmt.Println(url, title, ok)
	if err := errors.Join(j.Close(ctx), bus.Close(ctx), db.Close()); err != nil {
		log.Fatal(err)
	}
	// Prints:
	// https://peps.python.org/pep-0008 Python Enhancement Proposal 0008 true
}

// Expressions that must not be in a text, as the page BadContent says.
func ExampleBadContent() {
	ctx := context.Background()
	db, remove := tracDatabase()
	defer remove()
	bus := tracbus.NewBus("myenv")
	badContent := pages.NewBadContent(pages.Config{})
	bus.Wiki(tracbus.Everywhere, badContent)
	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	go j.Run(context.Background()) // until Close

	if err := edit(ctx, j, "BadContent", "{{{\ncheap (pills|watches)\n}}}"); err != nil {
		log.Fatal(err)
	}
	expression, found, err := badContent.Match(ctx, "Buy cheap watches here")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(expression, found)
	if err := errors.Join(j.Close(ctx), bus.Close(ctx), db.Close()); err != nil {
		log.Fatal(err)
	}
	// Prints:
	// cheap (pills|watches) true
}

// The names of all pages, to see at once whether a link leads somewhere.
func ExampleIndex() {
	ctx := context.Background()
	db, remove := tracDatabase()
	defer remove()
	bus := tracbus.NewBus("myenv")
	index := pages.NewIndex(pages.Config{})
	bus.Wiki(tracbus.Everywhere, index)
	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	go j.Run(context.Background()) // until Close

	if err := edit(ctx, j, "WikiStart", "Welcome"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(index.Get().Has("WikiStart"), index.Get().Has("WikiEnd"))
	if err := errors.Join(j.Close(ctx), bus.Close(ctx), db.Close()); err != nil {
		log.Fatal(err)
	}
	// Prints:
	// true false
}

// edit stores a page, and returns when the listeners of this process have handled it.
func edit(ctx context.Context, j *tracbus.Journal, name, text string) error {
	tid, err := j.Update(ctx, tracbus.Actor{Author: "ann"}, func(tx *tracbus.ModelTransaction) error {
		return tx.Save(ctx, trac.PageEdit{Name: name, Text: &text})
	})
	return errors.Join(err, j.Wait(ctx, tid))
}

// tracDatabase returns a new SQLite file with Trac's tables. An application imports a
// driver: _ "modernc.org/sqlite". This module has none, so that these examples are run
// by the module tests.
func tracDatabase() (db *sql.DB, remove func()) {
	tables, err := os.ReadFile(filepath.Join("..", "examples", "internal", "tracdb", "trac.sql"))
	if err != nil {
		log.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "pages")
	if err != nil {
		log.Fatal(err)
	}
	db, err = sql.Open("sqlite", "file:"+filepath.Join(folder, "trac.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		log.Fatal(err)
	}
	sqlite := strings.NewReplacer("{counted}", "INTEGER PRIMARY KEY", "{text}", "TEXT", "{options}", "")
	if _, err := db.Exec(sqlite.Replace(string(tables))); err != nil {
		log.Fatal(err)
	}
	return db, func() { _ = os.RemoveAll(folder) }
}
