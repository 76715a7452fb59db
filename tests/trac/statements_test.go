package trac_test

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
)

// heardSQL notes what is done with Trac's tables.
type heardSQL struct {
	*sql.Tx
	done []string
}

func (h *heardSQL) note(text string) {
	words := strings.Fields(strings.NewReplacer("`", "", `"`, "").Replace(text))
	for i, w := range words[:len(words)-1] {
		if w == "FROM" || w == "INTO" || w == "UPDATE" {
			table := words[i+1]
			if table = table[strings.LastIndexByte(table, '.')+1:]; slices.Contains(tracdatabase.Tables(), table) {
				h.done = append(h.done, words[0]+" "+table)
			}
			return
		}
	}
}

func (h *heardSQL) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	h.note(text)
	return h.Tx.ExecContext(ctx, text, args...)
}

func (h *heardSQL) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	h.note(text)
	return h.Tx.QueryContext(ctx, text, args...)
}

func (h *heardSQL) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	h.note(text)
	return h.Tx.QueryRowContext(ctx, text, args...)
}

// TestStatementsOfAnEdit counts the round trips of an edit: custom fields cost one only
// where there are any.
func TestStatementsOfAnEdit(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		edit := []string{"SELECT ticket", "SELECT ticket" /* with its changes */, "UPDATE ticket", "INSERT ticket_change"}
		for name, test := range map[string]struct {
			realm tracbus.JournalRealm
			want  []string
		}{
			"Trac's own fields": {tracbus.Tickets{}, edit},
			"custom fields": {
				trac.Tickets{CustomFields: []tracbus.CustomField{{Name: "area", Type: "text"}}},
				[]string{edit[0], "SELECT ticket_custom", edit[1], edit[2], edit[3]},
			},
		} {
			t.Run(name, func(t *testing.T) {
				d := desk.Seat(t, s, s.DSN(s.Name()), desk.Config{Journal: tracbus.JournalConfig{Realms: []tracbus.JournalRealm{test.realm}}})
				for _, text := range tracdatabase.Schema(s.Dialect) {
					_, err := d.DB.ExecContext(testkit.Within(t), text)
					require.NoError(t, err)
				}
				var id int64
				_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
					return tx.Save(testkit.Within(t), trac.TicketCreate{AssignedID: &id, Set: tracbus.Fields{"summary": "Crash"}})
				})
				require.NoError(t, err)

				begun, err := d.DB.BeginTx(testkit.Within(t), nil)
				require.NoError(t, err)
				h := &heardSQL{Tx: begun}
				tx, err := d.Join(h)
				require.NoError(t, err)
				require.NoError(t, tx.Prepare(desk.Joe, ""))
				require.NoError(t, tx.Save(testkit.Within(t), trac.TicketEdit{ID: id, Set: tracbus.Fields{"milestone": "m1", "owner": "joe"}, Comment: "It will be."}))
				_, err = tx.Flush(testkit.Within(t))
				require.NoError(t, err)
				require.NoError(t, begun.Commit())
				assert.Equal(t, test.want, h.done)
			})
		}
	})
}
