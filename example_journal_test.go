package tracbus_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"

	"github.com/tracbus/tracbus"
)

// tracker is an application that keeps issues in a table of its own, with
// database/sql. After "Added" comes what it takes to tell of them; the rest was
// there before.
type tracker struct {
	db *sql.DB
	// Added:
	bus     *tracbus.Bus
	journal *tracbus.Journal
	// As before.
}

func newTracker(ctx context.Context, db *sql.DB) (*tracker, error) {
	t := &tracker{db: db}
	// Added: who receives changes, and where the journal is.
	t.bus = tracbus.NewBus("issues")
	tracbus.On(t.bus, tracbus.Primary, func(ctx context.Context, e tracbus.TicketChanged) error {
		_, err := fmt.Printf("mail: %s changed %s: %v, before %v\n", e.Author, e.Resource(), e.New, e.Old)
		return err
	})
	var err error
	t.journal, err = tracbus.OpenJournal(ctx, db, t.bus, tracbus.JournalConfig{Dialect: tracbus.SQLite})
	if err != nil {
		return nil, err
	}
	go t.journal.Run(context.Background()) // until it is closed
	// As before.
	return t, nil
}

func (t *tracker) setStatus(ctx context.Context, user string, id int64, status string) error {
	// Added: the transaction is the journal's.
	_, err := t.journal.Update(ctx, tracbus.Actor{Author: user}, func(tx *tracbus.ModelTransaction) error {
		// As before, with tx.SQL() instead of t.db.
		var title, old string
		if err := tx.SQL().QueryRowContext(ctx, `SELECT title, status FROM issue WHERE id = ?`, id).Scan(&title, &old); err != nil {
			return err
		}
		if _, err := tx.SQL().ExecContext(ctx, `UPDATE issue SET status = ? WHERE id = ?`, status, id); err != nil {
			return err
		}
		// Added: what changed. To the journal, an issue is a ticket.
		return tx.Record(ctx, tracbus.TicketChanged{
			ID:     id,
			Values: tracbus.Fields{"title": title, "status": status},
			Old:    tracbus.Fields{"status": old},
		})
	})
	// As before.
	return err
}

// setStatusInOwn is setStatus of an application that keeps its own transaction.
func (t *tracker) setStatusInOwn(ctx context.Context, user string, id int64, status string) error {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var title, old string
	if err := tx.QueryRowContext(ctx, `SELECT title, status FROM issue WHERE id = ?`, id).Scan(&title, &old); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE issue SET status = ? WHERE id = ?`, status, id); err != nil {
		return err
	}
	// Added, in the place of return tx.Commit(): what changed.
	_, err = t.journal.CommitWith(ctx, tx, tracbus.Actor{Author: user}, tx.Commit, tracbus.TicketChanged{
		ID:     id,
		Values: tracbus.Fields{"title": title, "status": status},
		Old:    tracbus.Fields{"status": old},
	})
	// As before.
	return err
}

func (t *tracker) close(ctx context.Context) error {
	// Added:
	if err := errors.Join(t.journal.Close(ctx), t.bus.Close(ctx)); err != nil {
		return err
	}
	// As before.
	return t.db.Close()
}

// An application with tables of its own writes them as before, in the journal's
// transaction, and reports what changed.
func ExampleJournal() {
	ctx := context.Background()
	db, remove := issues()
	defer remove()
	t, err := newTracker(ctx, db)
	if err != nil {
		log.Fatal(err)
	}
	if err := t.setStatus(ctx, "joe", 4711, "closed"); err != nil { // rolled back: nothing is delivered
		fmt.Println(err)
	}
	if err := t.setStatus(ctx, "joe", 17, "closed"); err != nil {
		log.Fatal(err)
	}
	if err := t.close(ctx); err != nil {
		log.Fatal(err)
	}
	// Prints:
	// update: not committed: sql: no rows in result set
	// mail: joe changed ticket 17: map[status:closed], before map[status:open]
}

// An application that begins and commits its transactions itself commits them with what the
// journal has to keep.
func ExampleJournal_CommitWith() {
	ctx := context.Background()
	db, remove := issues()
	defer remove()
	t, err := newTracker(ctx, db)
	if err != nil {
		log.Fatal(err)
	}
	if err := t.setStatusInOwn(ctx, "ann", 17, "closed"); err != nil {
		log.Fatal(err)
	}
	if err := t.close(ctx); err != nil {
		log.Fatal(err)
	}
	// Prints:
	// mail: ann changed ticket 17: map[status:closed], before map[status:open]
}

// Update runs a function in a transaction of its own and commits it. Wait returns
// when the listeners of this process have handled the change.
func ExampleJournal_Update() {
	ctx := context.Background()
	db, remove := issues()
	defer remove()
	bus := tracbus.NewBus("issues")
	tracbus.On(bus, tracbus.Everywhere, func(ctx context.Context, e tracbus.TicketDeleted) error {
		_, err := fmt.Printf("tid %d: %s deleted %s, %q\n", e.TID, e.Author, e.Resource(), e.Values.Text("title"))
		return err
	})
	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	go j.Run(context.Background()) // delivers to the bus, until Close

	tid, err := j.Update(ctx, tracbus.Actor{Author: "joe", IPNR: "192.0.2.17", Authenticated: true},
		func(tx *tracbus.ModelTransaction) error {
			if _, err := tx.SQL().ExecContext(ctx, `DELETE FROM issue WHERE id = 17`); err != nil {
				return err
			}
			return tx.Record(ctx, tracbus.TicketDeleted{
				ID:     17,
				Values: tracbus.Fields{"title": "It does not start.", "status": "open"},
			})
		})
	if err != nil {
		log.Fatal(err)
	}
	if err := j.Wait(ctx, tid); err != nil { // optional
		log.Fatal(err)
	}
	if err := errors.Join(j.Close(ctx), bus.Close(ctx), db.Close()); err != nil { // in this order
		log.Fatal(err)
	}
	// Prints:
	// tid 1: joe deleted ticket 17, "It does not start."
}

// The long form of Update, for a program that cannot put its work into one function.
func ExampleJournal_Begin() {
	ctx := context.Background()
	db, remove := issues()
	defer remove()
	t, err := newTracker(ctx, db)
	if err != nil {
		log.Fatal(err)
	}

	tx, err := t.journal.Begin(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer tx.Rollback() // does nothing after Commit
	if err := tx.Prepare(tracbus.Actor{Author: "joe"}, ""); err != nil {
		log.Fatal(err)
	}
	if _, err := tx.SQL().ExecContext(ctx, `UPDATE issue SET status = 'closed' WHERE id = 17`); err != nil {
		log.Fatal(err)
	}
	err = tx.Record(ctx, tracbus.TicketChanged{
		ID:     17,
		Values: tracbus.Fields{"title": "It does not start.", "status": "closed"},
		Old:    tracbus.Fields{"status": "open"},
	})
	if err != nil {
		log.Fatal(err)
	}
	tid, err := tx.Commit(ctx)
	if err != nil {
		log.Fatal(err)
	}
	tx.Notify()

	fmt.Println("committed as tid", tid)
	if err := t.journal.Wait(ctx, tid); err != nil {
		log.Fatal(err)
	}
	if err := t.close(ctx); err != nil {
		log.Fatal(err)
	}
	// Unordered prints:
	// committed as tid 1
	// mail: joe changed ticket 17: map[status:closed], before map[status:open]
}

// The history of a resource: who did what, from where, with the old values.
func ExampleJournal_History() {
	ctx := context.Background()
	db, remove := issues()
	defer remove()
	bus := tracbus.NewBus("issues")
	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	for _, status := range []string{"assigned", "closed"} {
		_, err := j.Update(ctx, tracbus.Actor{Author: "joe", IPNR: "192.0.2.17"}, func(tx *tracbus.ModelTransaction) error {
			var old string
			if err := tx.SQL().QueryRowContext(ctx, `SELECT status FROM issue WHERE id = 17`).Scan(&old); err != nil {
				return err
			}
			if _, err := tx.SQL().ExecContext(ctx, `UPDATE issue SET status = ? WHERE id = 17`, status); err != nil {
				return err
			}
			return tx.Record(ctx, tracbus.TicketChanged{
				ID: 17, Values: tracbus.Fields{"status": status}, Old: tracbus.Fields{"status": old},
			})
		})
		if err != nil {
			log.Fatal(err)
		}
	}

	for event, err := range j.History(ctx, tracbus.TicketResource(17)) {
		if err != nil {
			log.Fatal(err)
		}
		e := event.(tracbus.TicketChanged)
		fmt.Println(e.Author, "from", e.IPNR, e.Old.Text("status"), "to", e.New.Text("status"))
	}
	if err := errors.Join(j.Close(ctx), bus.Close(ctx), db.Close()); err != nil {
		log.Fatal(err)
	}
	// Prints:
	// joe from 192.0.2.17 open to assigned
	// joe from 192.0.2.17 assigned to closed
}

// openIssues is a LoadListener: it is loaded from the tables, and then receives
// exactly the changes that they did not show. The bus calls it from one goroutine;
// one that is read by others at the same time needs a lock.
type openIssues map[int64]bool

func (o openIssues) Load(ctx context.Context, s *tracbus.Snapshot) error {
	clear(o)
	rows, err := s.QueryContext(ctx, `SELECT id FROM issue WHERE status = 'open'`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return err
		}
		o[id] = true
	}
	return rows.Err()
}

func (o openIssues) TicketCreated(ctx context.Context, e tracbus.TicketCreated) error {
	o[e.ID] = true
	return nil
}

func (o openIssues) TicketChanged(ctx context.Context, e tracbus.TicketChanged) error {
	if e.Values.Text("status") == "open" {
		o[e.ID] = true
	} else {
		delete(o, e.ID)
	}
	return nil
}

func (o openIssues) TicketDeleted(ctx context.Context, e tracbus.TicketDeleted) error {
	delete(o, e.ID)
	return nil
}

// A cache that starts with what the tables have.
func ExampleLoadListener() {
	ctx := context.Background()
	db, remove := issues()
	defer remove()
	if _, err := db.ExecContext(ctx, `INSERT INTO issue VALUES (18, 'It is slow.', 'open')`); err != nil {
		log.Fatal(err)
	}
	bus := tracbus.NewBus("issues")
	open := openIssues{}
	bus.Ticket(tracbus.Everywhere, open)
	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	go j.Run(context.Background())

	tid, err := j.Update(ctx, tracbus.Actor{Author: "ann"}, func(tx *tracbus.ModelTransaction) error {
		if _, err := tx.SQL().ExecContext(ctx, `UPDATE issue SET status = 'closed' WHERE id = 17`); err != nil {
			return err
		}
		return tx.Record(ctx, tracbus.TicketChanged{
			ID: 17, Values: tracbus.Fields{"status": "closed"}, Old: tracbus.Fields{"status": "open"},
		})
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := j.Wait(ctx, tid); err != nil {
		log.Fatal(err)
	}
	fmt.Println(open)
	if err := errors.Join(j.Close(ctx), bus.Close(ctx), db.Close()); err != nil {
		log.Fatal(err)
	}
	// Prints:
	// map[18:true]
}

// generated is what GORM's ConnPool and sqlc's DBTX are: tx.SQL() fits.
type generated interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	ExecContext(ctx context.Context, query string, args ...interface{}) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...interface{}) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...interface{}) *sql.Row
}

var _ generated = tracbus.SQL(nil)
