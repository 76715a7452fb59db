package tracbus

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tracbus/tracbus/internal/value"
)

// BenchmarkEncode measures payloads against encoding/json, which is given
// structs that make the same JSON.
func BenchmarkEncode(b *testing.B) {
	at := time.Date(2020, 1, 2, 3, 4, 5, 6000, time.UTC)
	values := Fields{
		"summary": "The pages of the manual do not print", "reporter": "jane", "owner": "joe", "type": "defect",
		"status": "assigned", "priority": "major", "milestone": "milestone2", "component": "manual", "version": "1.0",
		"resolution": "", "keywords": "print css", "cc": "jane@example.org", "time": at, "changetime": at,
		"description": strings.Repeat("It is empty. ", 8),
	}
	old := Fields{"milestone": "milestone1", "owner": "", "status": "new"}
	ticket := TicketChanged{Change: Change{Env: "test", Author: "joe", Comment: "Moved."}, ID: 17, Values: values, Old: old}
	line := " * Printing needs a style sheet of its own for paper: see [wiki:Manual/Css].\r\n"
	wiki := WikiPageChanged{
		Change:  Change{Env: "test"},
		Page:    WikiPage{Name: "Manual/Printing", Version: 7, Time: at, Author: "joe", Comment: "c", Text: strings.Repeat(line, 30)},
		OldText: strings.Repeat(line, 29),
	}
	for _, c := range []struct {
		name  string
		event message
		same  any
	}{
		{"ticket", ticket, struct {
			NewValues Fields `json:"new_values"`
			OldValues Fields `json:"old_values"`
			Author    string `json:"author"`
			Comment   string `json:"comment"`
			ID        int64  `json:"id"`
		}{values, old, "joe", "Moved.", 17}},
		{"wiki", wiki, struct {
			Name     string    `json:"name"`
			Version  int64     `json:"version"`
			Time     time.Time `json:"time"`
			Author   string    `json:"author"`
			Text     string    `json:"text"`
			Comment  string    `json:"comment"`
			Readonly int       `json:"readonly"`
			OldText  string    `json:"old_text"`
		}{"Manual/Printing", 7, at, "joe", wiki.Page.Text, "c", 0, wiki.OldText}},
	} {
		b.Run(c.name+"/tracbus", func(b *testing.B) {
			b.ReportAllocs()
			var buffer []byte
			orders := new(value.Orders)
			for b.Loop() {
				var err error
				if buffer, err = c.event.appendPayload(buffer[:0], form{true, orders}); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(len(buffer)))
		})
		b.Run(c.name+"/encoding-json", func(b *testing.B) {
			b.ReportAllocs()
			var n int
			for b.Loop() {
				out, err := json.Marshal(c.same)
				if err != nil {
					b.Fatal(err)
				}
				n = len(out)
			}
			b.SetBytes(int64(n))
		})
	}
}
