package tracbus_test

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

// attackThink is how long a writer thinks at most.
const attackThink = 50 * time.Millisecond

var errAttackRollback = errors.New("the writer changed its mind")

// attackWriter makes random transactions, one after the other.
type attackWriter struct {
	run     string
	number  int
	db      *sql.DB
	journal *tracbus.Journal
	log     *attackLog
	dialect tracbus.Dialect
	random  *rand.Rand

	stop <-chan struct{}
	hold chan time.Duration // how long to hold a transaction open, now
}

// work makes transactions until it is to stop.
func (w *attackWriter) work(ctx context.Context) error {
	for n := 1; ; n++ {
		var hold time.Duration
		select {
		case <-w.stop:
			return nil
		case hold = <-w.hold:
		default:
		}
		maker := fmt.Sprintf("%s/%d/%d", w.run, w.number, n)
		tid, err := w.transact(ctx, maker, hold)
		if hold > 0 && err == nil {
			_ = w.log.write(attackLine{Word: attackHeld, By: maker, Result: hold.String()})
		} else if hold > 0 { // another one tries
			w.hold <- hold
		}
		if err := w.log.write(attackOutcomeOf(maker, tid, err)); err != nil {
			return err
		}
		if err != nil && !errors.Is(err, errAttackRollback) {
			attackWait(ctx, 10*time.Millisecond) // whatever is wrong may be over then
		}
	}
}

// attackOutcomeOf notes what Update returned.
func attackOutcomeOf(maker string, tid int64, err error) attackLine {
	l := attackLine{Word: attackOutcome, attackPlace: attackPlace{TID: tid}, By: maker, Result: attackCommitted}
	not, unknown := errors.Is(err, tracbus.ErrNotCommitted), errors.Is(err, tracbus.ErrCommitUnknown)
	switch {
	case not && !unknown:
		l.Result = attackNotCommitted + ": " + err.Error()
	case unknown && !not:
		l.Result = attackUnknown + ": " + err.Error()
	case err != nil:
		l.Result = "neither committed, nor not, nor unknown: " + err.Error()
	}
	return l
}

// transact makes one transaction. It thinks where that hurts most: on PostgreSQL
// when the rows are locked, and where it joins, when it has its tid; elsewhere,
// where that stops all other writers, before.
func (w *attackWriter) transact(ctx context.Context, maker string, hold time.Duration) (int64, error) {
	p := w.plan(maker)
	if hold > 0 {
		p.think, p.hold, p.patience, p.fails, p.joins = 0, hold, 0, false, true
	}
	if p.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.patience)
		defer cancel()
	}
	if w.dialect == tracbus.PostgreSQL && p.joins {
		p.think, p.hold = 0, max(p.think, hold)
	}
	if w.dialect == tracbus.SQLite {
		attackWait(ctx, p.think)
	}
	f := func(tx *tracbus.ModelTransaction) error {
		if plainTables[w.dialect] == "plain_journal" {
			if err := attackExec(ctx, tx, "INSERT INTO plain_journal (maker) VALUES (?)", maker); err != nil {
				return err
			}
		}
		if w.dialect == tracbus.MySQL {
			attackWait(ctx, p.think)
		}
		changes, err := p.change(ctx, tx)
		if err != nil {
			return err
		}
		if w.dialect == tracbus.PostgreSQL {
			attackWait(ctx, p.think)
		}
		if p.fails {
			return errAttackRollback
		}
		return attackExec(ctx, tx, "INSERT INTO attack_commit VALUES (?, ?)", maker, changes)
	}
	if p.joins {
		return w.join(ctx, p, f)
	}
	return w.journal.Update(ctx, p.who, f)
}

// attackBegin begins a transaction of the application's own.
var attackBegin = map[tracbus.Dialect][]string{
	tracbus.SQLite:     {"BEGIN IMMEDIATE"},
	tracbus.PostgreSQL: {"BEGIN"},
	tracbus.MySQL:      {"SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "BEGIN"},
}

// join does what Update does with a transaction that the application begins and
// commits.
func (w *attackWriter) join(ctx context.Context, p attackPlan, f func(*tracbus.ModelTransaction) error) (tid int64, err error) {
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", tracbus.ErrNotCommitted, err)
	}
	defer func() {
		if err != nil { // whatever stands open on it is over then
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		}
		_ = conn.Close()
	}()
	for _, s := range attackBegin[w.dialect] {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			return 0, fmt.Errorf("%w: %w", tracbus.ErrNotCommitted, err)
		}
	}
	tx, err := w.journal.Join(conn)
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
	attackWait(ctx, p.hold)
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

// attackPlan is what a transaction is going to do.
type attackPlan struct {
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
}

func (w *attackWriter) plan(maker string) attackPlan {
	r := w.random
	p := attackPlan{
		who:     tracbus.Actor{Author: maker, IPNR: fmt.Sprintf("10.0.0.%d", w.number), Authenticated: r.IntN(2) == 0},
		deletes: r.IntN(10) == 0,
		lock:    r.IntN(2) == 0,
		joins:   r.IntN(5) == 0,
		think:   time.Duration(r.Int64N(int64(attackThink))),
		fails:   r.IntN(5) == 0,
	}
	if r.IntN(30) == 0 {
		p.patience = time.Duration(1 + r.Int64N(int64(2*attackThink)))
	}
	for range 1 + r.IntN(3) {
		id := int64(1 + r.IntN(attackItems))
		if r.IntN(8) == 0 {
			id = int64(1 + r.IntN(attackHot))
		}
		if !slices.Contains(p.items, id) {
			p.items = append(p.items, id)
		}
	}
	if r.IntN(20) > 0 { // else there may be a deadlock, from which the database saves one
		slices.Sort(p.items)
	}
	if r.IntN(4) == 0 {
		p.pages = append(p.pages, fmt.Sprintf("Page %d/of the attack", r.IntN(attackPages)))
	}
	return p
}

// change does what is planned, and counts the changes.
func (p attackPlan) change(ctx context.Context, tx *tracbus.ModelTransaction) (changes int, err error) {
	if p.lock {
		var all []tracbus.Resource
		for _, id := range p.items {
			all = append(all, (&attackItem{id: id}).Resource())
		}
		for _, name := range p.pages {
			all = append(all, tracbus.Resource{Realm: tracbus.RealmWiki, ID: name})
		}
		if err := tx.Lock(ctx, all...); err != nil {
			return 0, err
		}
	}
	for i, id := range p.items {
		m := &attackItem{id: id, maker: p.who.Author}
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
		if err := changeAttackPage(ctx, tx, name, p.who.Author); err != nil {
			return 0, err
		}
		changes++
	}
	return changes, nil
}
