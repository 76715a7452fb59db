package foreign

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus/internal/capture"
)

func of(text string) *string { return &text }

// Rows that statements of Trac's leave.
func changetimeRow(before, after string) capture.Row {
	return capture.Row{Code: TicketTable, Op: capture.Updated, Field: changetime, Old: &before, New: &after}
}

func commentRow(op, author string, at int64) capture.Row {
	return capture.Row{Code: HistoryTable, Op: op, At: at, Field: CommentField, Author: &author, Old: of("1"), New: of("why")}
}

// stepsOf returns what rows say, each step as "kind of the change of a time, at a time, up to its last row".
func stepsOf(rows ...capture.Row) (all []string) {
	for i := range rows {
		rows[i].N, rows[i].ID = int64(i+1), "1"
	}
	now := Ticket{Columns: Cells{changetime: of("0")}, Custom: Cells{}}
	for _, s := range Tickets(rows, now, func(int64) []string { return nil }) {
		switch s.Kind {
		case Changed:
			all = append(all, fmt.Sprintf("changed at %d, row %d", s.Time, s.Last))
		case ChangeDeleted:
			all = append(all, fmt.Sprintf("change of %d deleted at %d, row %d", s.Made, s.Time, s.Last))
		case CommentEdited:
			all = append(all, fmt.Sprintf("comment of %d edited at %d, row %d", s.Made, s.Time, s.Last))
		case Raw:
			all = append(all, fmt.Sprintf("raw, row %d", s.Last))
		}
	}
	return all
}

// TestTicketsAtOnce: Trac deletes a change, and edits a comment, before it locks the ticket's row.
// What others committed in between comes before it.
func TestTicketsAtOnce(t *testing.T) {
	t.Run("a change is saved while another is deleted", func(t *testing.T) {
		assert.Equal(t, []string{"changed at 20, row 3", "change of 10 deleted at 30, row 4"}, stepsOf(
			commentRow(capture.Deleted, "joe", 10),
			changetimeRow("10", "20"), commentRow(capture.Inserted, "sue", 20),
			changetimeRow("20", "30"),
		))
	})
	t.Run("two changes are deleted", func(t *testing.T) {
		assert.Equal(t, []string{"change of 10 deleted at 30, row 3", "change of 20 deleted at 40, row 4"}, stepsOf(
			commentRow(capture.Deleted, "joe", 10), commentRow(capture.Deleted, "joe", 20),
			changetimeRow("20", "30"), changetimeRow("30", "40"),
		))
	})
	t.Run("a change is deleted while its comment is edited", func(t *testing.T) {
		edit := capture.Row{Code: HistoryTable, Op: capture.Inserted, At: 10, Field: "_comment0", Author: of("joe"), Old: of("why"), New: of("40")}
		assert.Equal(t, []string{"change of 10 deleted at 30, row 3", "comment of 10 edited at 40, row 4"}, stepsOf(
			edit, commentRow(capture.Deleted, "sue", 10), changetimeRow("10", "30"),
			changetimeRow("30", "40"),
		))
	})
}
