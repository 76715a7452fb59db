package mail_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// processEnv holds, for a process of the mail tests, what it is to do.
const processEnv = "TRACBUS_MAIL_PROCESS"

// orders is what a process of the mail tests is told when it starts.
type orders struct {
	Server string // address of the mail server
	Log    string // path, of the mail server itself

	// Of a tracker:
	Run     string
	Dialect tracbus.Dialect
	DSN     string
	Once    *tracbus.DurableConfig // nil: Primary
}

// runProcess is what a process of the mail tests does instead of tests.
func runProcess(t *testing.T, encoded string) {
	var o orders
	if err := json.Unmarshal([]byte(encoded), &o); err != nil {
		t.Fatal(err)
	}
	run := (&tracker{}).run
	if o.Log != "" {
		run = (&server{}).run
	}
	if err := run(o); err != nil {
		t.Fatal(err)
	}
}

// tracker is a process with writers, and a listener that sends mails. It says
// "mail: ready", and then obeys the lines of its standard input:
//
//	change 20   that many transactions are committed; answered with "mail: changed"
//	finish      it ends in order
type tracker struct {
	orders
	journal *tracbus.Journal
}

func (p *tracker) run(o orders) error {
	p.orders = o
	ctx := context.Background()
	db, err := sql.Open(record.Drivers[p.Dialect], p.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("run", p.Run)
	bus := tracbus.BusConfig{Logger: logger}.NewBus("myenv")
	sender := &post{server: p.Server, helo: p.Run}
	if p.Once == nil {
		bus.Ticket(tracbus.Primary, sender)
	} else {
		bus.Ticket(p.Once.Durable("mail"), sender)
	}
	p.journal, err = tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: p.Dialect, PollInterval: 100 * time.Millisecond, Logger: logger})
	if err != nil {
		return err
	}
	status, err := p.journal.Status(ctx)
	if err != nil {
		return err
	}
	sender.journal = status.UUID
	ran := make(chan error, 1)
	go func() { ran <- p.journal.Run(ctx) }()
	fmt.Println("mail: ready")
	if err := p.obey(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, testkit.Patience)
	defer cancel()
	return errors.Join(p.journal.Close(ctx), <-ran, bus.Close(ctx))
}

// obey does what standard input says, until that is to finish.
func (p *tracker) obey(ctx context.Context) error {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		order, value, _ := strings.Cut(lines.Text(), " ")
		switch order {
		case "change":
			n, err := strconv.Atoi(value)
			if err == nil {
				err = p.change(ctx, int64(n))
			}
			if err != nil {
				return err
			}
			fmt.Println("mail: changed")
		case "finish":
			return nil
		}
	}
	os.Exit(3)
	return nil
}

// writers is how many writers each process has.
const writers = 4

// change commits n transactions, every fourth of them with two changes. Many of
// one ticket are made at once.
func (p *tracker) change(ctx context.Context, n int64) error {
	var next atomic.Int64
	var writing sync.WaitGroup
	errs := make([]error, writers)
	for w := range errs {
		writing.Go(func() {
			for i := next.Add(1); i <= n && errs[w] == nil; i = next.Add(1) {
				_, errs[w] = p.journal.Update(ctx, tracbus.Actor{Author: p.Run}, func(tx *tracbus.ModelTransaction) error {
					comment, id := fmt.Sprintf("%s did %d", p.Run, i), i%4+1
					err := tx.Record(ctx, mailed(id, comment))
					if id == 4 {
						err = errors.Join(err, tx.Record(ctx, mailed(5, comment)))
					}
					return err
				})
			}
		})
	}
	writing.Wait()
	return errors.Join(errs...)
}
