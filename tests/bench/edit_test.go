package bench_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
)

// BenchmarkTicketEdit measures edits of tickets in Trac's tables against the same rows
// and an outbox row by hand. They take turns.
func BenchmarkTicketEdit(b *testing.B) {
	for _, name := range []string{"sqlite", "postgresql", "mysql"} {
		b.Run(name, func(b *testing.B) {
			server := durableServer(b, name)
			journaled, hand := newTracTracker(b, server), byHandEdit{newTracTracker(b, server)}
			hand.mustExec(b, "CREATE TABLE outbox (id "+map[tracbus.Dialect]string{
				tracbus.SQLite: "INTEGER PRIMARY KEY AUTOINCREMENT", tracbus.PostgreSQL: "BIGSERIAL PRIMARY KEY", tracbus.MySQL: "BIGINT AUTO_INCREMENT PRIMARY KEY",
			}[hand.dialect]+", payload TEXT)")
			ways := []benchWay{
				{"journaled", journaled, func(ctx context.Context, m benchEdit) error {
					who := tracbus.Actor{Author: "joe", IPNR: "192.0.2.1", Authenticated: true}
					_, err := journaled.journal.Update(ctx, who, func(tx *tracbus.ModelTransaction) error {
						return tx.Save(ctx, trac.TicketEdit{ID: m.id, Set: tracbus.Fields{"milestone": m.milestone}, Comment: m.comment})
					})
					return err
				}},
				{"byhand", hand.benchTracker, hand.store},
			}
			for _, w := range ways {
				require.NoError(b, w.store(b.Context(), benchEdit{w.tracker, 7, "milestone7", "It is."}))
			}
			require.Equal(b, journaled.tracRows(b), hand.tracRows(b))
			for _, writers := range []int{1, 8, 32} {
				b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) { benchmarkWays(b, ways, writers) })
			}
		})
	}
}

// newTracTracker is a tracker with Trac's tables, and the tickets in them.
func newTracTracker(b *testing.B, s *testdatabase.Server) *benchTracker {
	t := newBenchTracker(b, s, tracbus.JournalConfig{})
	for _, text := range tracdatabase.Schema(t.dialect) {
		t.mustExec(b, text)
	}
	t.mustExec(b, "INSERT INTO ticket (summary, reporter, owner, "+t.quoted("type")+`, status, priority, milestone, component, version, keywords, cc, description, time, changetime)
		SELECT summary, reporter, owner, type, status, priority, milestone, component, version, keywords, cc, description, time, changetime FROM ticket_like ORDER BY id`)
	return t
}

// tracRows returns what the first edit wrote, but for its time.
func (t *benchTracker) tracRows(b *testing.B) (rows []string) {
	all, err := t.db.QueryContext(b.Context(), "SELECT ticket, author, field, oldvalue, newvalue, milestone FROM ticket_change JOIN ticket ON ticket.id = ticket_change.ticket ORDER BY field")
	require.NoError(b, err)
	defer all.Close()
	for all.Next() {
		var id int64
		var author, field, before, after, milestone sql.NullString
		require.NoError(b, all.Scan(&id, &author, &field, &before, &after, &milestone))
		rows = append(rows, fmt.Sprint(id, author, field, before, after, milestone))
	}
	require.NoError(b, all.Err())
	return rows
}

// byHandEdit writes the rows of an edit, and the message in an outbox, as a programmer
// would who has no library.
type byHandEdit struct{ *benchTracker }

func (h byHandEdit) store(ctx context.Context, m benchEdit) error {
	tx, err := byHandJournal{benchTracker: h.benchTracker}.begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := h.write(ctx, tx, m); err != nil {
		return err
	}
	return tx.Commit()
}

func (h byHandEdit) write(ctx context.Context, tx benchTx, m benchEdit) error {
	lock := " FOR UPDATE"
	if h.dialect == tracbus.SQLite {
		lock = ""
	}
	var was [12]sql.NullString
	var created, changed int64
	err := tx.QueryRowContext(ctx, h.text("SELECT summary, reporter, owner, "+h.quoted("type")+`, status, priority, milestone, component, version,
		keywords, cc, description, time, changetime FROM ticket WHERE id = ?`+lock), m.id).Scan(
		&was[0], &was[1], &was[2], &was[3], &was[4], &was[5], &was[6], &was[7], &was[8], &was[9], &was[10], &was[11], &created, &changed)
	if err != nil {
		return err
	}
	var last string
	err = tx.QueryRowContext(ctx, h.text("SELECT oldvalue FROM ticket_change WHERE ticket = ? AND field = 'comment' ORDER BY time DESC LIMIT 1"), m.id).Scan(&last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	number, _ := strconv.Atoi(last)
	now := max(time.Now().UnixMicro(), changed+1)
	if _, err := tx.ExecContext(ctx, h.text("UPDATE ticket SET milestone = ?, changetime = ? WHERE id = ?"), m.milestone, now, m.id); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, h.text("INSERT INTO ticket_change (ticket, time, author, field, oldvalue, newvalue) VALUES (?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?)"),
		m.id, now, "joe", "milestone", was[6], m.milestone, m.id, now, "joe", "comment", strconv.Itoa(number+1), m.comment)
	if err != nil {
		return err
	}
	payload, err := json.Marshal(map[string]any{
		"id": m.id, "author": "joe", "comment": m.comment, "time": now,
		"new_values": map[string]string{"milestone": m.milestone}, "old_values": map[string]string{"milestone": was[6].String},
	})
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, h.text("INSERT INTO outbox (payload) VALUES (?)"), string(payload))
	return err
}
