package tracbustest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tracbus/tracbus"
)

// process is one of a tracker's, as far as the check needs one: a pool, a bus, and a journal
// that is followed.
type process struct {
	name    string
	db      *sql.DB
	bus     *tracbus.Bus
	journal *tracbus.Journal
	ran     chan error // what Run returned; nil if it was not started

	mu    sync.Mutex // guards what listeners note
	heard []tracbus.Event
}

// consumerName is that of the durable consumer of a check.
const consumerName = "tracbustest"

// openProcess opens a pool and a journal, and follows it.
func (c DatabaseConfig) openProcess(ctx context.Context, p *place, name string) (*process, error) {
	m := &process{name: name}
	var err error
	if m.db, err = p.open(); err != nil {
		return m, fmt.Errorf("%s: open: %w", name, err)
	}
	m.bus = tracbus.BusConfig{Logger: c.Logger}.NewBus("tracbustest")
	tracbus.On(m.bus, tracbus.Everywhere, func(_ context.Context, e tracbus.Event) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.heard = append(m.heard, e)
		return nil
	})
	if m.journal, err = tracbus.OpenJournal(ctx, m.db, m.bus, tracbus.JournalConfig{
		Dialect: p.dialect, Schema: p.schema,
		PollInterval: 10 * time.Millisecond, Logger: c.Logger,
	}); err != nil {
		return m, fmt.Errorf("%s: %w", name, err)
	}
	m.ran = make(chan error, 1)
	go func() { m.ran <- m.journal.Run(context.WithoutCancel(ctx)) }() // until Close
	return m, nil
}

// delivered returns what the listener has received so far.
func (m *process) delivered() []tracbus.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]tracbus.Event{}, m.heard...)
}

// end ends the process in good order, as far as it began. It may be called again.
func (m *process) end(ctx context.Context) error {
	if m == nil || m.db == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var errs []error
	if m.journal != nil {
		errs = append(errs, m.journal.Close(ctx))
	}
	if m.ran != nil {
		select {
		case err := <-m.ran:
			errs = append(errs, err)
		case <-ctx.Done():
			errs = append(errs, errors.New("after Close, Run has not returned"))
		}
		m.ran = nil
	}
	errs = append(errs, m.bus.Close(ctx))
	if in := m.db.Stats().InUse; in > 0 {
		errs = append(errs, fmt.Errorf("%d connections have not come back to the pool", in))
	}
	if err := errors.Join(append(errs, m.db.Close())...); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	m.db = nil
	return nil
}

// group is the processes of a check.
type group []*process

// close ends all of them.
func (g group) close(ctx context.Context) error {
	var errs []error
	for _, m := range g {
		errs = append(errs, m.end(ctx))
	}
	return errors.Join(errs...)
}

// together says whether the processes are in another database each, as with one in memory or
// in a file that is new whenever it is opened.
func (g group) together(ctx context.Context) error {
	first := ""
	for _, m := range g {
		st, err := m.journal.Status(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if first == "" {
			first = st.UUID
		}
		if st.UUID != first {
			return fmt.Errorf("%s and %s are in another database each: expected a function that opens the same one each time", g[0].name, m.name)
		}
	}
	return nil
}
