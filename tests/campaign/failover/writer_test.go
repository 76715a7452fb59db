package failover_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// pace is how often a writer makes a change, if the machine can.
const pace = 10 * time.Millisecond

// creation makes ticket number n. The journal's row is all that is written.
type creation int64

func (n creation) Resource() tracbus.Resource {
	return tracbus.Resource{Realm: tracbus.RealmTicket, ID: strconv.FormatInt(int64(n), 10)}
}

func (n creation) Save(context.Context, *tracbus.ModelTransaction) (tracbus.Event, error) {
	return tracbus.TicketCreated{ID: int64(n), Values: tracbus.Fields{"summary": "of a failover"}}, nil
}

func (n creation) Delete(context.Context, *tracbus.ModelTransaction) (tracbus.Event, error) {
	panic("no ticket is deleted")
}

// databaseOf returns where a writer writes.
func databaseOf(folder string, writer role) string {
	return testdatabase.SQLite(filepath.Join(folder, string(writer)+".db"))
}

// write creates tickets 1, 2, 3 and so on, and publishes that.
func (p *process) write() error {
	log, err := record.OpenLog(filepath.Join(p.Folder, string(p.Role)+".log"))
	if err != nil {
		return err
	}
	client, err := p.client(p.Role == durable, 3)
	if err != nil {
		return err
	}
	defer client.Close()
	db, err := sql.Open(record.Drivers[tracbus.SQLite], databaseOf(p.Folder, p.Role))
	if err != nil {
		return err
	}
	defer db.Close()

	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	bus := tracbus.BusConfig{Logger: logger, QueueSize: 1 << 17}.NewBus(string(p.Role))
	config := tracbus.PublisherConfig{Logger: logger}
	var scope tracbus.Scope = tracbus.Primary
	if p.Role == durable {
		config.StreamKey = p.Stream
		scope = tracbus.DurableConfig{FromOldest: true}.Durable("redis")
	}
	publisher := tracbus.NewPublisher(client, config)
	bus.All(scope, publisher)
	journal, err := tracbus.OpenJournal(p.ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite, Logger: logger})
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := journal.Run(context.Background()); err != nil {
			_ = log.Write(note{Word: faultWord, Text: "Run: " + err.Error()})
		}
	})
	fmt.Println("failover: ready")
	if err := p.create(journal); err != nil {
		_ = log.Write(note{Word: faultWord, Text: err.Error()})
	}
	fmt.Println("failover: stopped")
	<-p.ctx.Done()

	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	if err := journal.Close(ctx); err != nil {
		return fmt.Errorf("close the journal: %w", err)
	}
	running.Wait()
	if err := bus.Close(ctx); err != nil {
		return fmt.Errorf("close the bus: %w", err)
	}
	publisher.Close()
	stats := publisher.Stats()
	last := ""
	if stats.LastError != nil {
		last, stats.LastError = stats.LastError.Error(), nil
	}
	return log.Write(note{Word: statsWord, At: time.Now().UnixMicro(), Stats: &stats, Text: last})
}

// create makes changes until it is to stop.
func (p *process) create(journal *tracbus.Journal) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for n := creation(1); ; n++ {
		select {
		case <-p.stop:
			return nil
		case <-tick.C:
		}
		if _, err := journal.Update(context.Background(), tracbus.Actor{Author: string(p.Role)}, func(tx *tracbus.ModelTransaction) error {
			return tx.Save(context.Background(), n)
		}); err != nil {
			return fmt.Errorf("ticket %d: %w", int64(n), err)
		}
	}
}
