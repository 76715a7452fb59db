// Quickstart tells the story of the original plugin's README: a wiki page and a
// ticket are created, changed and deleted, in Trac's tables and in a journal. It
// prints what a program receives that knows nothing of tracbus, what listeners
// in two processes receive, and who changed the ticket. It needs no set-up, because
// it brings an SQLite file and an in-process Redis:
//
//	go run ./examples/quickstart
//
// Flags take it to real servers, where it makes the tables that are missing. The
// page and the ticket are gone in the end, also from the database of a Trac:
//
//	go run ./examples/quickstart -redis redis://localhost:6379 \
//		-dialect postgresql -db postgres://user:password@localhost/tracker
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/examples/internal/tracdb"
	"github.com/tracbus/tracbus/internal/plain"
)

// env is the tracker's short name, the second part of every channel.
const env = "test"

func main() {
	log.SetFlags(0)
	redisURL := flag.String("redis", "", "`URL` of a Redis (default one in this process)")
	dialect := flag.String("dialect", string(tracbus.SQLite), "the database: sqlite, postgresql or mysql")
	dsn := flag.String("db", "", "data source `name` of the database (default a new SQLite file)")
	flag.Parse()
	if err := run(*redisURL, tracbus.Dialect(*dialect), *dsn); err != nil {
		log.Fatal("quickstart: ", plain.Line(err.Error()))
	}
}

func run(redisURL string, dialect tracbus.Dialect, dsn string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if redisURL == "" {
		server, err := miniredis.Run() // it listens on a TCP port, as Redis does
		if err != nil {
			return err
		}
		defer server.Close()
		redisURL = "redis://" + server.Addr()
	}
	settings, err := tracbus.ParseRedisURL(redisURL)
	if err != nil {
		return err
	}
	rdb, err := settings.NewClient()
	if err != nil {
		return err
	}
	defer rdb.Close()
	if dsn == "" {
		if dialect != tracbus.SQLite {
			return fmt.Errorf("-dialect %s needs -db", dialect)
		}
		folder, err := os.MkdirTemp("", "quickstart")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		dsn = tracdb.File(filepath.Join(folder, "trac.db"))
	}
	db, err := tracdb.Open(ctx, dialect, dsn, "")
	if err != nil {
		return err
	}
	defer db.Close()

	// The other software: a plain PSUBSCRIBE over a connection of its own.
	pubsub := rdb.PSubscribe(ctx, "trac."+env+".*")
	defer pubsub.Close()
	if _, err := pubsub.Receive(ctx); err != nil { // the subscription stands
		return fmt.Errorf("subscribe: %w", err)
	}

	// Two of the tracker's processes; the first makes the changes.
	first, err := start(ctx, db, rdb)
	if err != nil {
		return err
	}
	second, err := start(ctx, db, rdb)
	if err != nil {
		return err
	}
	ticket, tid, err := story(ctx, first.journal)
	if err != nil {
		return err
	}
	if err := second.journal.Wait(ctx, tid); err != nil {
		return err
	}
	history, err := whoChanged(ctx, second.journal, ticket)
	if err != nil {
		return err
	}
	for _, p := range []*process{first, second} {
		if err := p.stop(ctx); err != nil {
			return err
		}
	}

	if err := printMessages(ctx, pubsub, 6); err != nil {
		return err
	}
	print("The process that made the changes was told:", first.told)
	print("Another process was told:", second.told)
	print(fmt.Sprintf("Who changed ticket %d, says the journal:", ticket), history)
	return nil
}

// printMessages prints what the other software receives.
func printMessages(ctx context.Context, pubsub *redis.PubSub, n int) error {
	for i := range n {
		m, err := pubsub.ReceiveMessage(ctx)
		if err != nil {
			return fmt.Errorf("message %d of %d: %w", i+1, n, err)
		}
		var payload bytes.Buffer
		if err := json.Indent(&payload, []byte(m.Payload), "  ", "  "); err != nil {
			return fmt.Errorf("payload on %s: %w", m.Channel, err)
		}
		fmt.Printf("%s\n  %s\n\n", plain.Line(m.Channel), plain.JSON(payload.Bytes()))
	}
	return nil
}

func print(title string, lines []string) {
	fmt.Printf("%s\n  %s\n\n", title, strings.Join(lines, "\n  "))
}
