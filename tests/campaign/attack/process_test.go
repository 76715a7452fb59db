package attack_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"

	_ "github.com/jackc/pgx/v5/stdlib"

	_ "modernc.org/sqlite"

	"github.com/tracbus/tracbus"
)

// processEnv holds, for a process of the attack, what it is to do.
const processEnv = "TRACBUS_ATTACK_PROCESS"

// orders is what a process of the attack is told when it starts. Then it
// obeys the lines of its standard input:
//
//	hold 10s    one writer holds a transaction open that long
//	stop        no writer begins another transaction; answered with "attack: stopped"
//	finish 17   the run ends when its listeners have handled tid 17
//
// When its standard input ends, so does the process, at once.
type orders struct {
	Run     string
	Dialect tracbus.Dialect
	DSN     string
	Log     string // path
	Writers int
	Seed    uint64
}

// tracker is a tracker with listeners and writers.
type tracker struct {
	orders
	log     *record.Log
	db      *sql.DB
	bus     *tracbus.Bus
	journal *tracbus.Journal

	stop   chan struct{}
	hold   chan time.Duration
	finish chan int64
}

// runTracker is what a process of the attack does instead of tests.
func runTracker(t *testing.T, encoded string) {
	p := &tracker{stop: make(chan struct{}), hold: make(chan time.Duration, 1), finish: make(chan int64, 1)}
	if err := json.Unmarshal([]byte(encoded), &p.orders); err != nil {
		t.Fatal(err)
	}
	_ = mysql.SetLogger(&mysql.NopLogger{}) // it would tell of every cut
	var err error
	if p.log, err = record.OpenLog(p.Log); err != nil {
		t.Fatal(err)
	}
	go p.obey()
	if err := p.run(context.Background()); err != nil {
		_ = p.log.Write(record.Line{Word: record.Fault, Result: err.Error()})
		t.Fatal(err)
	}
}

// obey does what standard input says. It is over when the process is.
func (p *tracker) obey() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		order, value, _ := strings.Cut(lines.Text(), " ")
		switch order {
		case "hold":
			if d, err := time.ParseDuration(value); err == nil {
				p.hold <- d
			}
		case "stop":
			close(p.stop)
		case "finish":
			var tid int64
			if _, err := fmt.Sscan(value, &tid); err == nil {
				p.finish <- tid
			}
		}
	}
	os.Exit(3)
}

func (p *tracker) run(ctx context.Context) (err error) {
	if p.db, err = sql.Open(record.Drivers[p.Dialect], p.DSN); err != nil {
		return err
	}
	defer p.db.Close()
	p.db.SetMaxIdleConns(2 * p.Writers) // else each transaction makes a connection of its own
	if err := p.open(ctx); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	following, leave := context.WithCancel(ctx)
	defer leave()
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.journal.Run(following); err != nil {
			_ = p.log.Write(record.Line{Word: record.Fault, Result: "Run: " + err.Error()})
		}
	})
	running.Go(func() { record.ReadPlainly(following, p.db, p.Dialect, p.log) })
	fmt.Println("attack: ready")

	var writing sync.WaitGroup
	for n := range p.Writers {
		w := &record.Writer{
			Run: p.Run, Number: n, DB: p.db, Journal: p.journal, Log: p.log, Dialect: p.Dialect,
			Random: rand.New(rand.NewPCG(p.Seed, uint64(n))), Stop: p.stop, Hold: p.hold,
		}
		writing.Go(func() {
			if err := w.Work(ctx); err != nil {
				_ = p.log.Write(record.Line{Word: record.Fault, Result: "writer: " + err.Error()})
			}
		})
	}
	writing.Wait()
	fmt.Println("attack: stopped")
	if err := p.end(ctx, <-p.finish); err != nil {
		return fmt.Errorf("end: %w", err)
	}
	leave()
	running.Wait()
	return p.log.Write(record.Line{Word: record.End})
}

// open opens the journal, which may take some attempts while connections are
// cut, and notes the place from which it is followed.
func (p *tracker) open(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, testkit.Patience)
	defer cancel()
	for ; ctx.Err() == nil; record.Sleep(ctx, 50*time.Millisecond) {
		p.bus = tracbus.BusConfig{QueueSize: 1 << 20, Logger: p.logger()}.NewBus("attack")
		tracbus.On(p.bus, tracbus.Everywhere, func(_ context.Context, e tracbus.Event) error {
			return p.log.Write(record.LineOf(record.Everywhere, e))
		})
		tracbus.On(p.bus, tracbus.Primary, func(_ context.Context, e tracbus.Event) error {
			return p.log.Write(record.LineOf(record.Primary, e))
		})
		config := tracbus.JournalConfig{Dialect: p.Dialect, PollInterval: 200 * time.Millisecond, Logger: p.logger()}
		if p.journal, err = tracbus.OpenJournal(ctx, p.db, p.bus, config); err == nil {
			var place int64
			if place, err = p.start(ctx); err == nil {
				return p.log.Write(record.Line{Word: record.Start, Place: record.Place{TID: place}})
			}
			_ = p.journal.Close(ctx)
		}
		_ = p.bus.Close(ctx)
	}
	return err
}

// end waits until the listeners have handled tid, and closes everything.
func (p *tracker) end(ctx context.Context, tid int64) error {
	ctx, cancel := context.WithTimeout(ctx, testkit.Patience)
	defer cancel()
	if err := p.journal.Wait(ctx, tid); err != nil {
		return err
	}
	if err := p.journal.Close(ctx); err != nil {
		return err
	}
	return p.bus.Close(ctx)
}

// logger writes to where a test that failed shows it.
func (p *tracker) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, nil)).With("run", p.Run)
}

// start returns the place from which the journal is followed.
func (p *tracker) start(ctx context.Context) (int64, error) {
	status, err := p.journal.Status(ctx)
	return status.Position, err
}
