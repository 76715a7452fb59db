package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/examples/internal/tracdb"
	"github.com/tracbus/tracbus/pages"
	"github.com/tracbus/tracbus/trac"
)

// changes is what ties tracbus in: who receives changes, and how one is made.
type changes struct {
	bus     *tracbus.Bus
	journal *tracbus.Journal

	// Every process keeps these up to date. Reading them never waits.
	pages    *pages.Index      // which pages there are
	links    *pages.InterMap   // what the page InterMapTxt says
	bad      *pages.BadContent // what the page BadContent forbids
	timeline *timeline         // the last changes, for browsers that watch

	redis     redis.UniversalClient // nil: there is none
	publisher *tracbus.Publisher    // nil: there is none
}

// openChanges registers the listeners, and then opens the journal that delivers to
// them. close ends what it has begun.
func openChanges(ctx context.Context, db *tracdb.DB, s settings) (*changes, error) {
	c := &changes{
		bus:      tracbus.NewBus(s.env),
		pages:    pages.NewIndex(pages.Config{}),
		links:    pages.NewInterMap(pages.InterMapConfig{}),
		bad:      pages.NewBadContent(pages.Config{}),
		timeline: newTimeline(),
	}
	config := tracbus.JournalConfig{Dialect: db.Dialect}
	if db.Dialect != tracbus.SQLite {
		config.PollInterval = 250 * time.Millisecond // where no Redis wakes this process up
	}

	// State is kept Everywhere: each process needs every change, whoever made it.
	c.bus.Wiki(tracbus.Everywhere, c.pages)
	c.bus.Wiki(tracbus.Everywhere, c.links)
	c.bus.Wiki(tracbus.Everywhere, c.bad)
	tracbus.On(c.bus, tracbus.Everywhere, c.timeline.tell)

	// Side effects that must not be lost are Durable: one process at a time does them.
	if s.redis != "" {
		where, err := tracbus.ParseRedisURL(s.redis)
		if err != nil {
			return nil, fmt.Errorf("-redis: %w", errors.Join(err, c.close(ctx)))
		}
		if c.redis, err = where.NewClient(); err != nil {
			return nil, fmt.Errorf("-redis: %w", errors.Join(err, c.close(ctx)))
		}
		config.Waker = tracbus.NewRedisWaker(c.redis) // processes wake each other through it
		c.publisher = tracbus.NewPublisher(c.redis, tracbus.PublisherConfig{StreamKey: s.stream})
		c.bus.All(tracbus.Durable("redis"), c.publisher)
	}
	// A mail that fails eight times, for some 13 s, waits on the page Status for
	// somebody who has it sent again; those after it go out.
	mailer, err := newMailer(s.mail)
	if err != nil {
		return nil, errors.Join(err, c.close(ctx))
	}
	c.bus.Ticket(tracbus.DurableConfig{MaxAttempts: 8}.Durable("mail"), mailer)

	if c.journal, err = tracbus.OpenJournal(ctx, db.DB, c.bus, config); err != nil {
		return nil, errors.Join(err, c.close(ctx))
	}
	go c.journal.Run(context.Background()) // until close
	if err := c.bus.Wait(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("load what pages say: %w", err), c.close(ctx))
	}
	return c, nil
}

// update makes a change: f and what the journal says of it are committed together,
// or not at all. ctx should have a deadline: a row that f wants to change may be
// locked.
func (c *changes) update(ctx context.Context, who tracbus.Actor, f func(tx *tracbus.ModelTransaction) error) error {
	tid, err := c.journal.Update(ctx, who, f)
	if err != nil {
		return err
	}
	c.wait(ctx, tid) // it is committed, with or without the wait
	return nil
}

// wait returns when what this process keeps up to date has come to a tid, so that
// a page shows no less than it says, such as that a link leads somewhere now. It
// gives up after a second: a page that is late is worse.
func (c *changes) wait(ctx context.Context, tid int64) {
	waiting, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := c.journal.Wait(waiting, tid); err != nil && ctx.Err() == nil {
		slog.Info("the answer comes before the listeners know", "tid", tid, "err", err)
	}
}

// close delivers to everybody what this process committed. What a durable consumer
// has not received yet, another process delivers, or the next start.
func (c *changes) close(ctx context.Context) error {
	var err error
	if c.journal != nil {
		err = c.journal.Close(ctx)
	}
	err = errors.Join(err, c.bus.Close(ctx))
	if c.redis != nil {
		err = errors.Join(err, c.redis.Close())
	}
	return err
}

//go:embed welcome.md
var welcomeText string

// welcome makes the first page of a wiki that has none, unless another process is
// faster.
func (c *changes) welcome(ctx context.Context) error {
	if c.pages.Get().Len() > 0 {
		return nil
	}
	err := c.update(ctx, tracbus.Actor{Author: "tracker"}, func(tx *tracbus.ModelTransaction) error {
		return tx.Save(ctx, trac.PageEdit{Name: "WikiStart", Text: &welcomeText, Base: trac.NoPage})
	})
	if errors.Is(err, tracbus.ErrConflict) {
		return nil
	}
	return err
}
