package tracbus_test

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
)

// track writes, and relays if it is told to.
func (p *crashProcess) track() (err error) {
	if p.db, err = sql.Open(attackDrivers[p.Dialect], p.DSN); err != nil {
		return err
	}
	defer p.db.Close()
	p.db.SetMaxIdleConns(2*p.Writers + 8) // else each transaction makes a connection of its own
	if p.Told != "" {
		if p.told, err = openAttackLog(p.Told); err != nil {
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
			if err := p.writer(n).work(ctx); err != nil {
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
	return p.log.write(attackLine{Word: attackEnd})
}

func (p *crashProcess) complain(what string) {
	_ = p.log.write(attackLine{Word: attackFault, Result: what})
}

func (p *crashProcess) writer(n int) *attackWriter {
	return &attackWriter{
		run: p.Run, number: n, db: p.db, journal: p.journal, log: p.log, dialect: p.Dialect,
		random: rand.New(rand.NewPCG(p.Seed, uint64(n))), stop: p.stop,
	}
}

// writeLast commits one transaction with changes for each order.
func (p *crashProcess) writeLast(ctx context.Context) {
	w := p.writer(1 << 20)
	for n := 1; ; n++ {
		select {
		case <-p.last:
		case <-p.ctx.Done():
			return
		}
		for try := 1; p.ctx.Err() == nil; try++ {
			maker := fmt.Sprintf("%s/last/%d.%d", p.Run, n, try)
			tid, err := w.transact(ctx, maker, 0)
			_ = p.log.write(attackOutcomeOf(maker, tid, err))
			if err == nil && tid > 0 {
				fmt.Println("crash: last")
				break
			}
		}
	}
}

// open opens the journal, which may take some attempts while connections are
// cut.
func (p *crashProcess) open(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("run", p.Run)
	p.client.AddHook(&p.tricks)
	for ; ctx.Err() == nil; attackWait(ctx, 50*time.Millisecond) {
		p.bus = tracbus.BusConfig{Logger: logger}.NewBus("crash")
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
func (p *crashProcess) relay(logger *slog.Logger) {
	once := tracbus.DurableConfig{FromOldest: true, LeaseFor: crashLease, Backoff: 20 * time.Millisecond}
	config := tracbus.PublisherConfig{StreamKey: crashStream, MaxBackoff: 100 * time.Millisecond, Logger: logger}
	if p.Plain {
		config.StreamKey = ""
	}
	p.publisher = tracbus.NewPublisher(p.client, config)
	p.bus.All(once.Durable("redis"), p.publisher)
	tracbus.On(p.bus, once.Durable("log"), func(ctx context.Context, e tracbus.Event) error {
		p.tricks.perform(dieBeforeCall, hangInCall)
		err := p.told.write(crashToldLine(ctx, p.Run, e))
		p.tricks.perform(dieInCall, stopInCall)
		return err
	})
}

// end closes everything.
func (p *crashProcess) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
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
