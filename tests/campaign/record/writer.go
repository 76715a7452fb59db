package record

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tracbus/tracbus"
)

// think is how long a writer thinks at most.
const think = 50 * time.Millisecond

var errRollback = errors.New("the writer changed its mind")

// Writer makes random transactions, one after the other.
type Writer struct {
	Run     string
	Number  int
	DB      *sql.DB
	Journal *tracbus.Journal
	Log     *Log
	Dialect tracbus.Dialect
	Random  *rand.Rand

	Stop <-chan struct{}
	Hold chan time.Duration // how long to hold a transaction open, now
}

// Work makes transactions until it is to stop.
func (w *Writer) Work(ctx context.Context) error {
	for n := 1; ; n++ {
		var hold time.Duration
		select {
		case <-w.Stop:
			return nil
		case hold = <-w.Hold:
		default:
		}
		maker := fmt.Sprintf("%s/%d/%d", w.Run, w.Number, n)
		tid, err := w.Transact(ctx, maker, hold)
		if hold > 0 && err == nil {
			_ = w.Log.Write(Line{Word: Held, By: maker, Result: hold.String()})
		} else if hold > 0 { // another one tries
			w.Hold <- hold
		}
		if err := w.Log.Write(OutcomeOf(maker, tid, err)); err != nil {
			return err
		}
		if err != nil && !errors.Is(err, errRollback) {
			Sleep(ctx, 10*time.Millisecond) // whatever is wrong may be over then
		}
	}
}

// OutcomeOf notes what Update returned.
func OutcomeOf(maker string, tid int64, err error) Line {
	l := Line{Word: Outcome, Place: Place{TID: tid}, By: maker, Result: Committed}
	not, unknown := errors.Is(err, tracbus.ErrNotCommitted), errors.Is(err, tracbus.ErrCommitUnknown)
	switch {
	case not && !unknown:
		l.Result = NotCommitted + ": " + err.Error()
	case unknown && !not:
		l.Result = Unknown + ": " + err.Error()
	case err != nil:
		l.Result = "neither committed, nor not, nor unknown: " + err.Error()
	}
	return l
}

// Transact makes one transaction. It thinks where that hurts most: on PostgreSQL
// when the rows are locked, and where it joins, when it has its tid, but for SQLite:
// there it would stop all other writers.
func (w *Writer) Transact(ctx context.Context, maker string, hold time.Duration) (int64, error) {
	p := w.plan(maker)
	if hold > 0 {
		p.think, p.hold, p.patience, p.fails, p.joins, p.undone = 0, hold, 0, false, true, false
	}
	if p.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.patience)
		defer cancel()
	}
	if w.Dialect != tracbus.SQLite && p.joins {
		p.think, p.hold = 0, max(p.think, hold)
	}
	if w.Dialect == tracbus.SQLite {
		Sleep(ctx, p.think)
	}
	f := func(tx *tracbus.ModelTransaction) error {
		if PlainTables[w.Dialect] == "plain_journal" {
			if err := execute(ctx, tx, "INSERT INTO plain_journal (maker) VALUES (?)", maker); err != nil {
				return err
			}
		}
		if w.Dialect == tracbus.MySQL {
			Sleep(ctx, p.think)
		}
		changes, err := p.change(ctx, tx)
		if err != nil {
			return err
		}
		if w.Dialect == tracbus.PostgreSQL {
			Sleep(ctx, p.think)
		}
		if p.fails {
			return errRollback
		}
		return execute(ctx, tx, "INSERT INTO attack_commit VALUES (?, ?)", maker, changes)
	}
	if p.joins {
		return w.join(ctx, p, f)
	}
	return w.Journal.Update(ctx, p.who, f)
}

// begin begins a transaction of the application's own.
var begin = map[tracbus.Dialect][]string{
	tracbus.SQLite:     {"BEGIN IMMEDIATE"},
	tracbus.PostgreSQL: {"BEGIN"},
	tracbus.MySQL:      {"SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "BEGIN"},
}

// join does what Update does with a transaction that the application begins and
// commits.
func (w *Writer) join(ctx context.Context, p plan, f func(*tracbus.ModelTransaction) error) (tid int64, err error) {
	conn, err := w.DB.Conn(ctx)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", tracbus.ErrNotCommitted, err)
	}
	defer func() {
		if err != nil { // whatever stands open on it is over then
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		}
		_ = conn.Close()
	}()
	for _, s := range begin[w.Dialect] {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			return 0, fmt.Errorf("%w: %w", tracbus.ErrNotCommitted, err)
		}
	}
	tx, err := w.Journal.Join(conn)
	if err == nil {
		err = tx.Prepare(p.who, "")
	}
	if err == nil {
		err = f(tx)
	}
	if err == nil {
		tid, err = tx.Flush(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", tracbus.ErrNotCommitted, err)
	}
	Sleep(ctx, p.hold)
	if p.undone {
		_, err := conn.ExecContext(ctx, "ROLLBACK")
		return 0, errors.Join(tracbus.ErrNotCommitted, errRollback, err)
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		landed, unclear := tx.Outcome(ctx)
		if unclear != nil {
			return 0, fmt.Errorf("commit: %w, and then: %w", err, unclear)
		}
		return landed, nil
	}
	tx.Notify()
	return tid, nil
}

// plan is what a transaction is going to do.
type plan struct {
	who      tracbus.Actor
	items    []int64
	deletes  bool // the first of them
	lock     bool // all of them first
	pages    []string
	joins    bool // a transaction that the application began
	think    time.Duration
	hold     time.Duration // how long it has its tid before it commits, if it joins
	patience time.Duration // zero for any
	fails    bool
	undone   bool // when it has its tid, if it joins
}

func (w *Writer) plan(maker string) plan {
	r := w.Random
	p := plan{
		who:     tracbus.Actor{Author: maker, IPNR: fmt.Sprintf("10.0.0.%d", w.Number), Authenticated: r.IntN(2) == 0},
		deletes: r.IntN(10) == 0,
		lock:    r.IntN(2) == 0,
		joins:   r.IntN(5) == 0,
		think:   time.Duration(r.Int64N(int64(think))),
		fails:   r.IntN(5) == 0,
		undone:  r.IntN(4) == 0,
	}
	if r.IntN(30) == 0 {
		p.patience = time.Duration(1 + r.Int64N(int64(2*think)))
	}
	for range 1 + r.IntN(3) {
		id := int64(1 + r.IntN(items))
		if r.IntN(8) == 0 {
			id = int64(1 + r.IntN(hotItems))
		}
		if !slices.Contains(p.items, id) {
			p.items = append(p.items, id)
		}
	}
	if r.IntN(20) > 0 { // else there may be a deadlock, from which the database saves one
		slices.Sort(p.items)
	}
	if r.IntN(4) == 0 {
		p.pages = append(p.pages, fmt.Sprintf("Page %d/of the attack", r.IntN(pages)))
	}
	return p
}

// change does what is planned, and counts the changes.
func (p plan) change(ctx context.Context, tx *tracbus.ModelTransaction) (changes int, err error) {
	if p.lock {
		var all []tracbus.Resource
		for _, id := range p.items {
			all = append(all, (&item{id: id}).Resource())
		}
		for _, name := range p.pages {
			all = append(all, tracbus.Resource{Realm: tracbus.RealmWiki, ID: name})
		}
		if err := tx.Lock(ctx, all...); err != nil {
			return 0, err
		}
	}
	for i, id := range p.items {
		m := &item{id: id, maker: p.who.Author}
		if i == 0 && p.deletes {
			err = tx.Delete(ctx, m)
		} else {
			err = tx.Save(ctx, m)
		}
		if err != nil {
			return 0, err
		}
		if m.changed {
			changes++
		}
	}
	for _, name := range p.pages {
		if err := changePage(ctx, tx, name, p.who.Author); err != nil {
			return 0, err
		}
		changes++
	}
	return changes, nil
}
