package bench_test

import (
	"context"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/bench/contest"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
)

// tracCommits compares an edit of Trac's ticket with the same rows by hand.
func tracCommits(t *testing.T, dialect string) *contest.Contest {
	s := durableServer(t, dialect)
	return &contest.Contest{
		About: "A writer sets the milestone of one of 1,000 of Trac's tickets, and comments on it. “outbox” reads and writes the same " +
			"rows of Trac by hand, and one of an outbox.",
		At: writers, AtWhat: "writers", Units: []string{"commits/s"}, Against: "outbox",
		Ways: []contest.Way{tracOutbox(t, s), ticketEdits(t, s)},
	}
}

// newTrac makes a Trac's database.
func newTrac(t *testing.T, s *testdatabase.Server) *tracker {
	k := newTracker(t, s)
	for _, statement := range tracdatabase.Schema(k.dialect) {
		k.exec(t, statement)
	}
	k.rows(t, "INSERT INTO ticket (id, type, time, changetime, component, severity, priority, owner, reporter, cc, version, milestone, status, resolution, summary, description, keywords) VALUES ",
		"(%d, 'defect', 1577934245000006, 1577934245000006, 'manual', '', 'major', 'joe', 'jane', '', '1.0', 'milestone0', 'assigned', '', "+
			"'The pages of the manual do not print', 'They are empty.', 'print css')")
	return k
}

func ticketEdits(t *testing.T, s *testdatabase.Server) contest.Way {
	k := newTrac(t, s)
	j := k.open(t, tracbus.NewBus("bench"), tracbus.JournalConfig{Realms: []tracbus.JournalRealm{trac.Tickets{}}})
	return committing("TicketEdit", k, func(ctx context.Context) error {
		e := anyEdit()
		return again(func() error {
			_, err := j.Update(ctx, joe, func(tx *tracbus.ModelTransaction) error {
				return tx.Save(ctx, trac.TicketEdit{ID: e.id, Set: tracbus.Fields{"milestone": e.milestone}, Comment: comment})
			})
			return err
		})
	})
}

// again does something once more if it fails: two edits of a ticket at the same time
// may want the same row.
func again(do func() error) error {
	if do() == nil {
		return nil
	}
	return do()
}

func tracOutbox(t *testing.T, s *testdatabase.Server) contest.Way {
	k := newTrac(t, s)
	k.makeOutbox(t)
	return committing("outbox", k, func(ctx context.Context) error {
		return again(func() error { return k.editTrac(ctx, anyEdit()) })
	})
}

// editTrac is an edit of Trac's ticket by hand: what Trac reads and writes, and a row of
// an outbox.
func (k *tracker) editTrac(ctx context.Context, e edit) error {
	tx, err := k.begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	lock := " FOR UPDATE"
	if k.dialect == tracbus.SQLite {
		lock = ""
	}
	var kind, component, severity, priority, owner, reporter, cc, version, before, status, resolution, summary, description, keywords string
	var made, changed int64
	err = tx.QueryRowContext(ctx, k.bind(`SELECT type, time, changetime, component, severity, priority, owner, reporter, cc, version, milestone, status, resolution,
		summary, description, keywords FROM ticket WHERE id = ?`+lock), e.id).Scan(&kind, &made, &changed, &component, &severity, &priority, &owner, &reporter, &cc, &version,
		&before, &status, &resolution, &summary, &description, &keywords)
	if err != nil {
		return err
	}
	var number int
	if err := tx.QueryRowContext(ctx, k.bind("SELECT count(*) FROM ticket_change WHERE ticket = ? AND field = 'comment' AND time = (SELECT max(time) FROM ticket_change WHERE ticket = ?)"), e.id, e.id).Scan(&number); err != nil {
		return err
	}
	now := max(time.Now().UnixMicro(), changed+1)
	if _, err := tx.ExecContext(ctx, k.bind("UPDATE ticket SET milestone = ?, changetime = ? WHERE id = ?"), e.milestone, now, e.id); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, k.bind("INSERT INTO ticket_change (ticket, time, author, field, oldvalue, newvalue) VALUES (?, ?, ?, 'milestone', ?, ?), (?, ?, ?, 'comment', '1', ?)"),
		e.id, now, joe.Author, before, e.milestone, e.id, now, joe.Author, comment)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, k.bind("INSERT INTO outbox (payload) VALUES (?)"), string(e.payload(before))); err != nil {
		return err
	}
	return tx.Commit()
}
