package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/examples/internal/tracdb"
	"github.com/tracbus/tracbus/trac"
)

// process is one of those that share the database: all that a tracker sets up.
type process struct {
	bus     *tracbus.Bus
	journal *tracbus.Journal
	redis   *tracbus.Registration // of the publisher, which one of the processes runs
	told    []string              // what its listener received
}

// start registers the listeners, and opens the journal that delivers to them.
func start(ctx context.Context, db *tracdb.DB, rdb redis.UniversalClient) (*process, error) {
	p := &process{bus: tracbus.NewBus(env)}
	p.redis = p.bus.All(tracbus.Durable("redis"), tracbus.NewPublisher(rdb, tracbus.PublisherConfig{}))
	tracbus.On(p.bus, tracbus.Everywhere, func(ctx context.Context, e tracbus.Event) error {
		c, role := e.About(), "secondary"
		if c.Primary {
			role = "primary"
		}
		p.told = append(p.told, fmt.Sprintf("tid %d, %s: %s %s", c.TID, role, e.Resource(), e.Kind()))
		return nil
	})
	var err error
	p.journal, err = tracbus.OpenJournal(ctx, db.DB, p.bus, tracbus.JournalConfig{
		Dialect: db.Dialect, Waker: tracbus.NewRedisWaker(rdb),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return nil, err
	}
	go p.journal.Run(ctx) // until stop
	return p, nil
}

// stop returns when what this process committed was delivered to everybody. What a
// tracker has not sent to Redis when it stops, another process sends, or the next
// start; here there is none.
func (p *process) stop(ctx context.Context) error {
	return errors.Join(p.redis.Wait(ctx), p.journal.Close(ctx), p.bus.Close(ctx))
}

// story makes the changes, each in a transaction of its own, and returns the
// number of its ticket and the last transaction's id.
func story(ctx context.Context, j *tracbus.Journal) (ticket, tid int64, err error) {
	const page = "NewWikiPage"
	who := tracbus.Actor{Author: "anonymous", IPNR: "192.0.2.17"}
	for _, change := range []func(tx *tracbus.ModelTransaction) error{
		func(tx *tracbus.ModelTransaction) error {
			return tx.Save(ctx, trac.PageEdit{
				Name: page, Text: new("Page contents."), Comment: "Change comment", Base: trac.NoPage,
			})
		},
		func(tx *tracbus.ModelTransaction) error {
			return tx.Save(ctx, trac.PageEdit{
				Name: page, Text: new("Page contents.\r\nAdditional contents."), Comment: "Editing page.", Base: 1,
			})
		},
		func(tx *tracbus.ModelTransaction) error {
			return tx.Save(ctx, trac.TicketCreate{AssignedID: &ticket, Set: tracbus.Fields{
				"summary": "Test ticket", "description": "Problem description.", "type": "defect",
				"priority": "major", "component": "component1", "owner": "somebody",
			}})
		},
		func(tx *tracbus.ModelTransaction) error {
			return tx.Save(ctx, trac.TicketEdit{
				ID: ticket, Set: tracbus.Fields{"milestone": "milestone1"}, Comment: "Updated milestone.",
			})
		},
		func(tx *tracbus.ModelTransaction) error { return tx.Delete(ctx, trac.PageEdit{Name: page}) },
		func(tx *tracbus.ModelTransaction) error { return tx.Delete(ctx, trac.TicketEdit{ID: ticket}) },
	} {
		if tid, err = j.Update(ctx, who, change); err != nil {
			return 0, 0, err
		}
	}
	return ticket, tid, nil
}

// whoChanged reads the audit trail of a ticket, which is deleted by now.
func whoChanged(ctx context.Context, j *tracbus.Journal, ticket int64) (lines []string, err error) {
	resource := tracbus.Resource{Realm: tracbus.RealmTicket, ID: strconv.FormatInt(ticket, 10)}
	for e, err := range j.History(ctx, resource) {
		if err != nil {
			return nil, err
		}
		c := e.About()
		line := fmt.Sprintf("tid %d: %s by %s from %s, signed in: %t", c.TID, e.Kind(), c.Author, c.IPNR, c.Authenticated)
		if e, ok := e.(tracbus.TicketChanged); ok {
			line += fmt.Sprintf(": %v, before %v", e.New, e.Old)
		}
		lines = append(lines, line)
	}
	return lines, nil
}
