// Quickstart tells the story of the original plugin's README: a wiki page and a
// ticket are created, changed and deleted, and a program that knows nothing of
// tracbus receives six messages from Redis. It needs no set-up, for it brings
// an in-process Redis:
//
//	go run ./examples/quickstart
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
)

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal("quickstart: ", err)
	}
}

func run() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	server, err := miniredis.Run() // it listens on a TCP port, as Redis does
	if err != nil {
		return err
	}
	defer server.Close()

	// The other software: a plain PSUBSCRIBE over a connection of its own.
	foreign := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer foreign.Close()
	pubsub := foreign.PSubscribe(ctx, "trac.*")
	defer pubsub.Close()
	if _, err := pubsub.Receive(ctx); err != nil { // the subscription stands
		return fmt.Errorf("subscribe: %w", err)
	}

	if err := tellStory(ctx, server.Addr()); err != nil {
		return err
	}
	for i := range 6 {
		m, err := pubsub.ReceiveMessage(ctx)
		if err != nil {
			return fmt.Errorf("message %d of 6: %w", i+1, err)
		}
		var payload bytes.Buffer
		if err := json.Indent(&payload, []byte(m.Payload), "  ", "  "); err != nil {
			return fmt.Errorf("payload on %s: %w", m.Channel, err)
		}
		fmt.Printf("%s\n  %s\n\n", m.Channel, payload.Bytes())
	}
	return nil
}

// tellStory is all that a tracker does with tracbus: a bus, a publisher on it,
// and an event after each commit.
func tellStory(ctx context.Context, addr string) error {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()

	bus := tracbus.NewBus("test")
	bus.All(tracbus.Primary, tracbus.NewPublisher(client, tracbus.PublisherConfig{}))
	for _, event := range story() {
		if err := bus.Notify(event); err != nil {
			return err
		}
	}
	return bus.Close(ctx) // returns when Redis has them all
}

// story returns what a tracker would have committed to its database.
func story() []tracbus.Event {
	// Without times of its own, an event is of now.
	morning := time.Date(2020, 1, 2, 3, 4, 5, 6_000, time.UTC)
	later := time.Date(2020, 1, 2, 3, 5, 0, 123_456_000, time.UTC)
	by := func(at time.Time, comment string) tracbus.Change {
		return tracbus.Change{Time: at, Author: "anonymous", Comment: comment}
	}

	first := tracbus.WikiPage{Name: "NewWikiPage", Version: 1, Text: "Page contents."}
	second := tracbus.WikiPage{
		Name: "NewWikiPage", Version: 2, Text: "Page contents.\r\nAdditional contents.",
		Time: later, Author: "anonymous", Comment: "Editing page.",
	}
	ticket := tracbus.Fields{
		"summary": "Test ticket", "description": "Problem description.",
		"type": "defect", "priority": "major", "component": "component1",
		"milestone": "", "version": "", "keywords": "", "cc": "",
		"reporter": "anonymous", "owner": "somebody",
		"time": morning, "changetime": morning,
	}
	changed := maps.Clone(ticket)
	changed["milestone"], changed["changetime"] = "milestone1", later

	return []tracbus.Event{
		tracbus.WikiPageCreated{Change: by(morning, "Change comment"), Page: first},
		tracbus.WikiPageChanged{Change: by(later, "Editing page."), Page: second, OldText: first.Text},
		tracbus.TicketCreated{Change: by(morning, ""), ID: 1, Values: ticket},
		tracbus.TicketChanged{Change: by(later, "Updated milestone."), ID: 1, Values: changed, Old: tracbus.Fields{"milestone": ""}},
		tracbus.WikiPageDeleted{Change: by(later, ""), Page: second},
		tracbus.TicketDeleted{Change: by(later, ""), ID: 1, Values: changed},
	}
}
