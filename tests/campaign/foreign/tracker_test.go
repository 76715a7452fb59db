package foreign_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
	"github.com/tracbus/tracbus/trac"
)

// streamKey is the key of the stream that all trackers write.
const streamKey = "trac:foreign:stream"

func realmsOf() []tracbus.JournalRealm {
	return []tracbus.JournalRealm{trac.Tickets{CustomFields: []tracbus.CustomField{{Name: custom, Type: "text"}}}, tracbus.Pages{}}
}

// tracker is a process with a journal, in which one writer and the importer are at work.
type tracker struct {
	*process
	journal *tracbus.Journal
}

// track writes through a journal, and takes in what Trac writes.
func (p *process) track(ctx context.Context) error {
	client := redis.NewClient(&redis.Options{Addr: p.Redis})
	defer client.Close()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("run", p.Run)
	bus := tracbus.BusConfig{QueueSize: 1 << 20, Logger: logger}.NewBus("foreign")
	told := func(word string) func(context.Context, tracbus.Event) error {
		return func(_ context.Context, e tracbus.Event) error {
			c := e.About()
			p.write(line{Word: word, Place: record.Place{TID: c.TID, Seq: c.Seq}, Token: c.Author, Resource: e.Resource().String(), Kind: string(e.Kind()), Primary: c.Primary})
			return nil
		}
	}
	tracbus.On(bus, tracbus.Everywhere, told(everywhereWord))
	tracbus.On(bus, tracbus.Primary, told(primaryWord))
	publisher := tracbus.NewPublisher(client, tracbus.PublisherConfig{StreamKey: streamKey, StreamMaxLen: 1 << 30, ExtraEvents: true, MaxBackoff: 100 * time.Millisecond, Logger: logger})
	published := bus.All(tracbus.DurableConfig{FromOldest: true, LeaseFor: time.Second}.Durable("redis"), publisher)
	journal, err := tracbus.OpenJournal(ctx, p.db, bus, tracbus.JournalConfig{
		Dialect: p.Dialect, Realms: realmsOf(), Capture: trac.Capture{}, PollInterval: 50 * time.Millisecond, Logger: logger,
	})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	status, err := journal.Status(ctx)
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	p.write(line{Word: startWord, Place: record.Place{TID: status.Position}})
	var running sync.WaitGroup
	running.Go(func() {
		if err := journal.Run(ctx); err != nil {
			p.write(line{Word: faultWord, Result: "Run: " + err.Error()})
		}
	})
	fmt.Println("foreign: ready")
	t := &tracker{p, journal}
	p.work(ctx, t.transact)
	last := <-p.finish
	ctx, cancel := context.WithTimeout(ctx, testkit.Patience)
	defer cancel()
	if err := journal.Wait(ctx, last); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if err := published.Wait(ctx); err != nil {
		return fmt.Errorf("wait for the publisher: %w", err)
	}
	if err := errors.Join(journal.Close(ctx), bus.Close(ctx)); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	publisher.Close()
	running.Wait()
	return nil
}

// transact makes one transaction: with Update, or with one that was joined.
func (t *tracker) transact(ctx context.Context, token string) (result string, err error) {
	do, err := t.plan(ctx, token)
	if err != nil {
		return rolledBack, err
	}
	fails, joins, pause := t.random.IntN(5) == 0, t.random.IntN(4) == 0, time.Duration(t.random.IntN(30))*time.Millisecond
	f := func(tx *tracbus.ModelTransaction) error {
		if err := do(ctx, tx); err != nil {
			return err
		}
		record.Sleep(ctx, pause)
		if fails {
			return errRollback
		}
		return nil
	}
	if joins {
		return t.join(ctx, tracbus.Actor{Author: token}, f)
	}
	_, err = t.journal.Update(ctx, tracbus.Actor{Author: token}, f)
	switch {
	case err == nil:
		return committed, nil
	case errors.Is(err, tracbus.ErrCommitUnknown):
		return unknownWhich, err
	case errors.Is(err, tracbus.ErrNotCommitted):
		return rolledBack, err
	}
	return unknownWhich, fmt.Errorf("neither committed nor not: %w", err)
}

// begins begins a transaction of the application's own.
var begins = map[tracbus.Dialect][]string{
	tracbus.SQLite:     {"BEGIN IMMEDIATE"},
	tracbus.PostgreSQL: {"BEGIN"},
	tracbus.MySQL:      {"SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "BEGIN"},
}

// join does what Update does with a transaction of the application's own.
func (t *tracker) join(ctx context.Context, who tracbus.Actor, f func(*tracbus.ModelTransaction) error) (result string, err error) {
	conn, err := t.db.Conn(ctx)
	if err != nil {
		return rolledBack, err
	}
	ended := false
	defer func() {
		if !ended {
			if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil { // whatever stands open on it is over then
				_ = conn.Raw(func(any) error { return driver.ErrBadConn })
			}
		}
		_ = conn.Close()
	}()
	for _, s := range begins[t.Dialect] {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			return rolledBack, err
		}
	}
	tx, err := t.journal.Join(conn)
	if err != nil {
		return rolledBack, err
	}
	if err := tx.Prepare(who, ""); err != nil {
		return rolledBack, err
	}
	if err := f(tx); err != nil {
		return rolledBack, err
	}
	if _, err := tx.Flush(ctx); err != nil {
		return rolledBack, err
	}
	if t.random.IntN(4) == 0 {
		return rolledBack, errRollback
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
		return unknownWhich, err
	}
	ended = true
	tx.Notify()
	return committed, nil
}

// deed is what a transaction does.
type deed func(ctx context.Context, tx *tracbus.ModelTransaction) error

// plan chooses what a transaction does.
func (t *tracker) plan(ctx context.Context, token string) (deed, error) {
	switch dice := t.random.IntN(100); {
	case dice < 50:
		ids, err := t.tickets(ctx, 3)
		return t.editTickets(token, ids), err
	case dice < 56:
		return t.createTicket(token), nil
	case dice < 70:
		ids, err := t.tickets(ctx, 1)
		if err != nil {
			return nil, err
		}
		return t.editComment(token, ids[0], dice < 64), nil
	case dice < 73:
		id, err := t.newTicket(ctx)
		return t.deleteTicket(token, id), err
	case dice < 90:
		return t.savePage(token, t.pageName()), nil
	case dice < 96:
		return t.deletePage(token, t.pageName(), dice < 94), nil
	}
	return t.renamePage(token, t.pageName(), t.pageName()), nil
}

func (t *tracker) editTickets(token string, ids []int64) deed {
	set := tracbus.Fields{"keywords": token, "milestone": fmt.Sprintf("m%d", t.random.IntN(3)), custom: fmt.Sprintf("colour %d", t.random.IntN(3))}
	return func(ctx context.Context, tx *tracbus.ModelTransaction) error {
		for _, id := range ids {
			if err := tx.Save(ctx, trac.TicketEdit{ID: id, Set: set, Comment: token}); err != nil {
				return err
			}
			if err := t.d.mark(ctx, tx.SQL(), write{Token: token, Resource: ticket(id), Kind: changed}); err != nil {
				return err
			}
		}
		return nil
	}
}

func (t *tracker) createTicket(token string) deed {
	return func(ctx context.Context, tx *tracbus.ModelTransaction) error {
		var id int64
		if err := tx.Save(ctx, trac.TicketCreate{Set: tracbus.Fields{"summary": token, "keywords": token, custom: "colour 1"}, AssignedID: &id}); err != nil {
			return err
		}
		return t.d.mark(ctx, tx.SQL(), write{Token: token, Resource: ticket(id), Kind: created})
	}
}

func (t *tracker) editComment(token string, id int64, edits bool) deed {
	return func(ctx context.Context, tx *tracbus.ModelTransaction) error {
		if err := tx.Lock(ctx, tracbus.TicketResource(id)); err != nil {
			return err
		}
		c, err := t.someComment(ctx, tx.SQL(), id)
		if err != nil {
			return err
		}
		w := write{Token: token, Resource: ticket(id), Kind: commentEdited, Made: c.time, Ref: c.text}
		made := time.UnixMicro(c.time)
		if edits {
			err = tx.Save(ctx, trac.CommentEdit{ID: id, ChangeTime: made, Comment: token})
		} else {
			w.Kind = changeDeleted
			err = tx.Delete(ctx, trac.ChangeDelete{ID: id, ChangeTime: made})
		}
		if err != nil {
			return err
		}
		return t.d.mark(ctx, tx.SQL(), w)
	}
}

func (t *tracker) deleteTicket(token string, id int64) deed {
	return func(ctx context.Context, tx *tracbus.ModelTransaction) error {
		if err := tx.Delete(ctx, trac.TicketEdit{ID: id}); err != nil {
			return err
		}
		return t.d.mark(ctx, tx.SQL(), write{Token: token, Resource: ticket(id), Kind: deleted})
	}
}

func (t *tracker) savePage(token, name string) deed {
	return func(ctx context.Context, tx *tracbus.ModelTransaction) error {
		text := token
		if err := tx.Save(ctx, trac.PageEdit{Name: name, Text: &text, Comment: token}); err != nil {
			return err
		}
		version, err := t.newest(ctx, tx.SQL(), name)
		if err != nil {
			return err
		}
		kind := changed
		if version == 1 {
			kind = created
		}
		return t.d.mark(ctx, tx.SQL(), write{Token: token, Resource: page(name), Kind: kind, Version: version})
	}
}

func (t *tracker) deletePage(token, name string, one bool) deed {
	return func(ctx context.Context, tx *tracbus.ModelTransaction) error {
		version, err := t.newest(ctx, tx.SQL(), name)
		if err != nil || version == 0 {
			return errors.Join(err, errNothing)
		}
		w := write{Token: token, Resource: page(name), Kind: deleted}
		if one {
			w.Kind, w.Version = versionDeleted, version
			err = tx.Delete(ctx, trac.PageVersionDelete{Name: name, Version: version})
		} else {
			err = tx.Delete(ctx, trac.PageEdit{Name: name})
		}
		if err != nil {
			return err
		}
		return t.d.mark(ctx, tx.SQL(), w)
	}
}

func (t *tracker) renamePage(token, old, name string) deed {
	return func(ctx context.Context, tx *tracbus.ModelTransaction) error {
		if old == name {
			return errNothing
		}
		if err := tx.Save(ctx, trac.PageRename{Name: old, NewName: name}); err != nil {
			return err
		}
		return t.d.mark(ctx, tx.SQL(), write{Token: token, Resource: page(name), Kind: renamed, OldName: old})
	}
}
