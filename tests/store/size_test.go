package store_test

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestSize: a change of three of a ticket's fifteen fields takes so much of the disk, its
// indexes included. More than a half of it is the state that did not change.
func TestSize(t *testing.T) {
	most := map[string]int{"sqlite": 740, "postgresql": 890, "mysql": 880}
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		const changes = 10_000
		st, db := open(t, s)
		made := time.Date(2020, 1, 2, 3, 4, 5, 6000, time.UTC)
		origin := rand.Text()
		var rows [][]any
		for i := range changes {
			row, err := entry.Row(entry.Entry{
				Resource: entry.Resource{Realm: "ticket", ID: fmt.Sprint(i % 5000)}, Kind: "changed", Time: made.Add(time.Duration(i) * time.Second),
				Author: "joe", IPNR: "192.0.2.17", Authenticated: true, Comment: "It was empty.",
				State: entry.Fields{
					"summary": "The pages of the manual do not print", "reporter": "jane", "type": "defect", "priority": "major", "component": "manual",
					"version": "1.0", "resolution": "", "keywords": "print css", "cc": "jane@example.org", "time": made, "changetime": made.Add(time.Duration(i) * time.Second),
					"description": strings.Repeat("It is empty. ", 8),
				},
				Old: entry.Fields{"milestone": "milestone1", "owner": "", "status": "new"},
				New: entry.Fields{"milestone": "milestone2", "owner": "joe", "status": "assigned"},
			})
			require.NoError(t, err)
			rows = append(rows, []any{i + 1, 0, 1, rand.Text(), origin, row.Realm, row.ID, row.Kind, row.Time, row.Author, row.IPNR, 1, row.Comment, row.Attrs, row.Document})
		}
		for some := range slices.Chunk(rows, 500) {
			_, err := db.Exec(st.SQL(`INSERT INTO {journal_change} (tid, seq, changes, commit_id, origin, realm, id, "change", time, author, ipnr, authenticated, comment, parts, document)
				VALUES (?`+strings.Repeat(", ?", 14)+")"+strings.Repeat(", (?"+strings.Repeat(", ?", 14)+")", len(some)-1)), slices.Concat(some...)...)
			require.NoError(t, err)
		}
		var bytes int
		switch s.Dialect {
		case "sqlite":
			bytes = one[int](t, db, "SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'journal_change%'")
		case "postgresql":
			bytes = one[int](t, db, "SELECT pg_total_relation_size('journal_change')")
		case "mysql":
			_, err := db.Exec("ANALYZE TABLE journal_change")
			require.NoError(t, err)
			bytes = one[int](t, db, "SELECT data_length + index_length FROM information_schema.tables WHERE table_schema = database() AND table_name = 'journal_change'")
		}
		t.Logf("%d bytes, of which %d are the document", bytes/changes, len(rows[0][14].(string)))
		assert.Less(t, bytes/changes, most[s.Dialect])
	})
}
