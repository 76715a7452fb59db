package crash_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// track writes, and relays if it is told to.
func (p *process) track() (err error) {
	if p.db, err = sql.Open(record.Drivers[p.Dialect], p.DSN); err != nil {
		return err
	}
	defer p.db.Close()
	p.db.SetMaxIdleConns(2*p.Writers + 8) // else each transaction makes a connection of its own
	if p.Told != "" {
		if p.told, err = record.OpenLog(p.Told); err != nil {
			return err
		}
	}
	ctx := context.Background()
	if err := p.open(ctx); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.journal.Run(ctx); err != nil {
			p.complain("Run: " + err.Error())
		}
	})
	fmt.Println("crash: ready")
	var writing sync.WaitGroup
	for n := range p.Writers {
		writing.Go(func() {
			if err := p.writer(n).Work(ctx); err != nil {
				p.complain("writer: " + err.Error())
			}
		})
	}
	running.Go(func() { p.writeLast(ctx) })
	writing.Wait()
	fmt.Println("crash: stopped")
	<-p.ctx.Done()
	err = p.end(ctx)
	running.Wait()
	if err != nil {
		return fmt.Errorf("end: %w", err)
	}
	return p.log.Write(record.Line{Word: record.End})
}

func (p *process) complain(what string) {
	_ = p.log.Write(record.Line{Word: record.Fault, Result: what})
}

func (p *process) writer(n int) *record.Writer {
	return &record.Writer{
		Run: p.Run, Number: n, DB: p.db, Journal: p.journal, Log: p.log, Dialect: p.Dialect,
		Random: rand.New(rand.NewPCG(p.Seed, uint64(n))), Stop: p.stop,
	}
}

// writeLast commits one transaction with changes for each order.
func (p *process) writeLast(ctx context.Context) {
	w := p.writer(1 << 20)
	for n := 1; ; n++ {
		select {
		case <-p.last:
		case <-p.ctx.Done():
			return
		}
		for try := 1; p.ctx.Err() == nil; try++ {
			maker := fmt.Sprintf("%s/last/%d.%d", p.Run, n, try)
			tid, err := w.Transact(ctx, maker, 0)
			_ = p.log.Write(record.OutcomeOf(maker, tid, err))
			if err == nil && tid > 0 {
				fmt.Println("crash: last")
				break
			}
		}
	}
}

// open opens the journal, which may take some attempts while connections are
// cut.
func (p *process) open(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, testkit.Patience)
	defer cancel()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("run", p.Run)
	testkit.NewTap(p.client).After(p.tricks.answered)
	for ; ctx.Err() == nil; record.Sleep(ctx, 50*time.Millisecond) {
		p.bus = tracbus.BusConfig{Logger: logger}.NewBus("crash")
		p.loaded.complain = p.complain
		p.bus.Ticket(tracbus.Everywhere, &p.loaded)
		p.publisher = nil
		if p.told != nil {
			p.relay(logger)
		}
		config := tracbus.JournalConfig{Dialect: p.Dialect, PollInterval: 100 * time.Millisecond, Logger: logger}
		if p.journal, err = tracbus.OpenJournal(ctx, p.db, p.bus, config); err == nil {
			return nil
		}
		_ = p.bus.Close(ctx)
		if p.publisher != nil {
			p.publisher.Close()
		}
	}
	return err
}

// relay registers what is to be told under Durable: the publisher, and a listener
// that logs.
func (p *process) relay(logger *slog.Logger) {
	once := tracbus.DurableConfig{FromOldest: true, LeaseFor: leaseFor, Backoff: 20 * time.Millisecond}
	config := tracbus.PublisherConfig{StreamKey: streamKey, MaxBackoff: 100 * time.Millisecond, Logger: logger}
	if p.Plain {
		config.StreamKey = ""
	}
	p.publisher = tracbus.NewPublisher(p.client, config)
	p.bus.All(once.Durable("redis"), p.publisher)
	tracbus.On(p.bus, once.Durable("log"), func(ctx context.Context, e tracbus.Event) error {
		p.tricks.perform(dieBeforeCall, hangInCall)
		err := p.told.Write(toldNote(ctx, p.Run, e))
		p.tricks.perform(dieInCall, stopInCall)
		return err
	})
}

// end closes everything.
func (p *process) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, testkit.Patience)
	defer cancel()
	if err := p.compare(ctx); err != nil {
		return err
	}
	if err := p.journal.Close(ctx); err != nil {
		return err
	}
	if err := p.bus.Close(ctx); err != nil {
		return err
	}
	if p.publisher != nil {
		p.publisher.Close()
	}
	return nil
}

// compare holds what the LoadListener knows against the tables, in which nobody writes
// any more. It may take some attempts to get rid of dead connections.
func (p *process) compare(ctx context.Context) (err error) {
	for ; ctx.Err() == nil; record.Sleep(ctx, 20*time.Millisecond) {
		var last int64
		if err = p.db.QueryRowContext(ctx, "SELECT MAX(tid) FROM journal_change").Scan(&last); err != nil {
			continue
		}
		if err := p.journal.Wait(ctx, last); err != nil {
			return err
		}
		if err = p.loaded.compare(ctx, p.db); err == nil {
			return nil
		}
	}
	return err
}
