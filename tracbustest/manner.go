package tracbustest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/tracbus/tracbus"
)

// manner is how a transaction goes.
type manner string

const (
	plainly  manner = "committed"
	undoing  manner = "rolled back"
	holding  manner = "held open"
	killing  manner = "killed"
	joining  manner = "joined"
	leaving  manner = "joined, and rolled back"
	atOnce   manner = "joined in one call"
	nesting  manner = "with savepoints"
	finished manner = "after all others"
)

// pick chooses a manner. An SQLite file has no sessions to kill.
func (s *storm) pick(random *rand.Rand) manner {
	switch n := random.IntN(100); {
	case n < 12:
		return undoing
	case n < 22:
		return holding
	case n < 32 && s.place.dialect != tracbus.SQLite:
		return killing
	case n < 42:
		return joining
	case n < 47:
		return leaving
	case n < 57:
		return atOnce
	case n < 67:
		return nesting
	}
	return plainly
}

// errOnPurpose rolls a transaction back.
var errOnPurpose = errors.New("rolled back on purpose")

// attempt makes a transaction.
func (s *storm) attempt(ctx context.Context, a attempt, item int64) (tid int64, err error) {
	m := s.group[a.process]
	switch a.manner {
	case joining, leaving:
		return s.join(ctx, m, a, item)
	case atOnce:
		return s.commitWith(ctx, m, a, item+items)
	case holding:
		tx, err := m.journal.Begin(ctx)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", tracbus.ErrNotCommitted, err)
		}
		defer tx.Rollback()
		if err := errors.Join(tx.Prepare(tracbus.Actor{Author: m.name}, ""), s.change(ctx, tx, a, item)); err != nil {
			return 0, fmt.Errorf("%w: %w", tracbus.ErrNotCommitted, err)
		}
		s.hold(ctx)
		tid, err := tx.Commit(ctx)
		tx.Notify()
		return tid, s.cleared(ctx, err)
	}
	tid, err = m.journal.Update(ctx, tracbus.Actor{Author: m.name}, func(tx *tracbus.ModelTransaction) error {
		if a.manner == nesting {
			return s.nest(ctx, tx, a, item)
		}
		if err := s.change(ctx, tx, a, item); err != nil {
			return err
		}
		switch a.manner {
		case undoing:
			return errOnPurpose
		case killing:
			session, err := s.place.session(ctx, tx.SQL())
			if err != nil {
				return err
			}
			return s.place.kill(ctx, session)
		}
		return nil
	})
	return tid, s.cleared(ctx, err)
}

// cleared asks again what became of a commit whose answer was lost.
func (s *storm) cleared(ctx context.Context, err error) error {
	var unknown *tracbus.CommitUnknownError
	if errors.As(err, &unknown) {
		if _, outcome := unknown.Transaction.Outcome(ctx); outcome == nil || errors.Is(outcome, tracbus.ErrNotCommitted) {
			return outcome
		}
	}
	return err
}

// change counts up an item, and says so in the application's table and in the journal.
func (s *storm) change(ctx context.Context, tx *tracbus.ModelTransaction, a attempt, item int64) error {
	if err := tx.Lock(ctx, tracbus.TicketResource(item)); err != nil {
		return err
	}
	e, err := s.count(ctx, tx.SQL(), a.token, item)
	if err != nil {
		return err
	}
	return tx.Record(ctx, e)
}

// count counts up an item in the application's tables, and returns what has to be told.
func (s *storm) count(ctx context.Context, q tracbus.SQL, token string, item int64) (e tracbus.TicketChanged, err error) {
	var n int64
	if _, err := q.ExecContext(ctx, s.place.sql("UPDATE {item} SET n = n + 1 WHERE id = ?"), item); err != nil {
		return e, err
	}
	if err := q.QueryRowContext(ctx, s.place.sql("SELECT n FROM {item} WHERE id = ?"), item).Scan(&n); err != nil {
		return e, err
	}
	if _, err := q.ExecContext(ctx, s.place.sql("INSERT INTO {done} (token) VALUES (?)"), token); err != nil {
		return e, err
	}
	return tracbus.TicketChanged{
		Change: tracbus.Change{Comment: token}, ID: item,
		Values: tracbus.Fields{"n": number(n)}, Old: tracbus.Fields{"n": number(n - 1)},
	}, nil
}

// What the changes are called that a transaction makes after savepoints.
const (
	released = " released"
	undone   = " undone"
)

// nest makes three changes: the second is rolled back, and the savepoint of the third is
// released.
func (s *storm) nest(ctx context.Context, tx *tracbus.ModelTransaction, a attempt, item int64) error {
	of := func(n int64) int64 { return 1 + (item+n)%items }
	if err := tx.Lock(ctx, tracbus.TicketResource(of(0)), tracbus.TicketResource(of(1)), tracbus.TicketResource(of(2))); err != nil {
		return err
	}
	steps := []struct {
		before, token, after string
	}{
		{"", a.token, ""},
		{"SAVEPOINT inner_one", a.token + undone, "ROLLBACK TO SAVEPOINT inner_one"},
		{"SAVEPOINT inner_two", a.token + released, "RELEASE SAVEPOINT inner_two"},
	}
	for i, step := range steps {
		if step.before != "" {
			if _, err := tx.SQL().ExecContext(ctx, step.before); err != nil {
				return err
			}
		}
		if err := s.change(ctx, tx, attempt{token: step.token}, of(int64(i))); err != nil {
			return err
		}
		if step.after != "" {
			if _, err := tx.SQL().ExecContext(ctx, step.after); err != nil {
				return err
			}
		}
	}
	return nil
}

// commitWith makes a transaction of the application's, which is joined in the call that
// commits it.
func (s *storm) commitWith(ctx context.Context, m *process, a attempt, item int64) (tid int64, err error) {
	failed := func(err error) (int64, error) { return 0, fmt.Errorf("%w: %w", tracbus.ErrNotCommitted, err) }
	conn, err := m.db.Conn(ctx)
	if err != nil {
		return failed(err)
	}
	defer conn.Close()
	exec := func(statement string) error { _, err := conn.ExecContext(ctx, statement); return err }
	if err := exec(s.begin()); err != nil {
		return failed(err)
	}
	e, err := s.count(ctx, conn, a.token, item)
	if err != nil {
		return failed(errors.Join(err, exec("ROLLBACK")))
	}
	tid, err = m.journal.CommitWith(ctx, conn, tracbus.Actor{Author: m.name}, func() error { return exec("COMMIT") }, e)
	if errors.Is(err, tracbus.ErrNotCommitted) {
		return 0, errors.Join(err, exec("ROLLBACK"))
	}
	return tid, s.cleared(ctx, err)
}

// begin is how an application begins a transaction that writes.
func (s *storm) begin() string {
	if s.place.dialect == tracbus.SQLite {
		return "BEGIN IMMEDIATE"
	}
	return "BEGIN"
}

func number(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }

// hold waits until two others have committed, or for a moment: they may be waiting for this one.
func (s *storm) hold(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	enough := s.committed.Load() + 2
	for waited := 0; s.committed.Load() < enough && waited < 50; waited++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// join makes a transaction that the application begins and commits.
func (s *storm) join(ctx context.Context, m *process, a attempt, item int64) (tid int64, err error) {
	failed := func(err error) (int64, error) { return 0, fmt.Errorf("%w: %w", tracbus.ErrNotCommitted, err) }
	conn, err := m.db.Conn(ctx)
	if err != nil {
		return failed(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, s.begin()); err != nil {
		return failed(err)
	}
	rollback := func(err error) (int64, error) {
		_, failure := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return failed(errors.Join(err, failure))
	}
	tx, err := m.journal.Join(conn)
	if err == nil {
		err = tx.Prepare(tracbus.Actor{Author: m.name}, "")
	}
	if err == nil {
		err = s.change(ctx, tx, a, item)
	}
	if err == nil {
		tid, err = tx.Flush(ctx)
	}
	if err == nil && a.manner == leaving {
		err = errOnPurpose
	}
	if err != nil {
		return rollback(err)
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
		if _, err := tx.Outcome(ctx); err != nil {
			return 0, err
		}
	}
	tx.Notify()
	return tid, nil
}
