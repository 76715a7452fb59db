package trac_test

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
)

// A pageRig is a database with Trac's tables and a journal.
type pageRig struct {
	dialect tracbus.Dialect
	db      *sql.DB
	journal *tracbus.Journal
	bus     *tracbus.Bus
}

var joe = tracbus.Actor{Author: "joe", IPNR: "192.0.2.7", Authenticated: true}

// onTracDatabases runs f on each database.
func onTracDatabases(t *testing.T, f func(t *testing.T, r *pageRig)) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		r := newPageRig(t, tracbus.Dialect(s.Dialect), s.New(t))
		r.open(t, r.db, "")
		f(t, r)
	})
}

// newPageRig returns one without a journal.
func newPageRig(t *testing.T, d tracbus.Dialect, db *sql.DB) *pageRig {
	r := &pageRig{dialect: d, db: db, bus: tracbus.NewBus("test")}
	for _, statement := range tracdatabase.Schema(d) {
		r.sql(t, statement)
	}
	return r
}

// open opens the journal, by way of another pool if need be.
func (r *pageRig) open(t *testing.T, db *sql.DB, schema string) {
	var err error
	config := tracbus.JournalConfig{Dialect: r.dialect, Realms: []tracbus.JournalRealm{tracbus.Pages{}}, Schema: schema}
	r.journal, err = tracbus.OpenJournal(t.Context(), db, r.bus, config)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, r.journal.Close(ctx))
		require.NoError(t, r.bus.Close(ctx))
	})
}

// sql runs a statement as Trac would, outside the journal. Its marks are ?.
func (r *pageRig) sql(t *testing.T, statement string, args ...any) {
	t.Helper()
	_, err := r.db.ExecContext(t.Context(), r.marks(statement), args...)
	require.NoError(t, err, "%s %q", statement, args)
}

func (r *pageRig) marks(statement string) string {
	for n := 1; r.dialect == tracbus.PostgreSQL && strings.Contains(statement, "?"); n++ {
		statement = strings.Replace(statement, "?", fmt.Sprintf("$%d", n), 1)
	}
	return statement
}

// page puts versions of a page into the table, each as "version time author
// text comment readonly", with - for an empty text and NULL.
func (r *pageRig) page(t *testing.T, name string, versions ...string) {
	t.Helper()
	for _, v := range versions {
		args := []any{name}
		for _, word := range strings.Fields(v) {
			switch word {
			case "NULL":
				args = append(args, nil)
			case "-":
				args = append(args, "")
			default:
				args = append(args, word)
			}
		}
		r.sql(t, "INSERT INTO wiki (name, version, time, author, text, comment, readonly) VALUES (?, ?, ?, ?, ?, ?, ?)", args...)
	}
}

// rows returns what is in wiki, in that form with the name first. The time of
// the last transaction is "now".
func (r *pageRig) rows(t *testing.T, now time.Time) []string {
	t.Helper()
	return r.read(t, now, "SELECT name, version, time, author, text, comment, readonly FROM wiki ORDER BY name, version")
}

func (r *pageRig) attachments(t *testing.T) []string {
	t.Helper()
	return r.read(t, time.Time{}, "SELECT type, id, filename FROM attachment ORDER BY id, filename")
}

// cacheIDs are the numbers that Trac gives to its caches (key_to_id of
// trac/cache.py, as Python computes it).
func cacheIDs() map[string]string {
	return map[string]string{
		"trac.wiki.api.WikiSystem.pages":                 "901198563",
		"trac.wiki.interwiki.InterWikiMap.interwiki_map": "2085311731",
	}
}

// caches returns the generations, by what follows the last dot of their keys.
func (r *pageRig) caches(t *testing.T) []string {
	t.Helper()
	var caches []string
	for _, row := range r.read(t, time.Time{}, "SELECT * FROM cache ORDER BY id") {
		f := strings.Fields(row)
		require.Equal(t, cacheIDs()[f[2]], f[0], "id of %s", f[2])
		caches = append(caches, f[2][strings.LastIndexByte(f[2], '.')+1:]+" "+f[1])
	}
	return caches
}

func (r *pageRig) read(t *testing.T, now time.Time, query string) []string {
	t.Helper()
	rows, err := r.db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var all []string
	for rows.Next() {
		values, places := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			places[i] = &values[i]
		}
		require.NoError(t, rows.Scan(places...))
		words := make([]string, len(columns))
		for i, v := range values {
			switch {
			case !v.Valid:
				words[i] = "NULL"
			case columns[i] == "time" && v.String == fmt.Sprint(now.UnixMicro()):
				words[i] = "now"
			default:
				words[i] = cmp.Or(v.String, "-")
			}
		}
		all = append(all, strings.Join(words, " "))
	}
	require.NoError(t, rows.Err())
	return all
}

// clear empties Trac's tables.
func (r *pageRig) clear(t *testing.T) {
	for _, table := range []string{"wiki", "cache", "attachment"} {
		r.sql(t, "DELETE FROM "+table)
	}
}

// change runs steps in one transaction. It returns what each told, in words,
// and the transaction's time.
func (r *pageRig) change(t *testing.T, who tracbus.Actor, steps ...any) (told []string, now time.Time, err error) {
	_, err = r.journal.Update(t.Context(), who, func(tx *tracbus.ModelTransaction) error {
		now = tx.Time()
		for _, step := range steps {
			var err error
			if d, ok := step.(deleted); ok {
				err = tx.Delete(t.Context(), overheard{d.Model, &told, now})
			} else {
				err = tx.Save(t.Context(), overheard{step.(tracbus.Model), &told, now})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return told, now, err
}

// deleted is a step that deletes.
type deleted struct{ tracbus.Model }

// overheard notes the events that a model returns.
type overheard struct {
	tracbus.Model
	told *[]string
	now  time.Time
}

func (o overheard) Save(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	return o.note(o.Model.Save(ctx, tx))
}

func (o overheard) Delete(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	return o.note(o.Model.Delete(ctx, tx))
}

func (o overheard) note(e tracbus.Event, err error) (tracbus.Event, error) {
	switch {
	case err != nil:
	case e == nil:
		*o.told = append(*o.told, "nothing")
	default:
		*o.told = append(*o.told, inWords(e, o.now))
	}
	return e, err
}

// inWords returns an event as "kind name version time author text comment
// readonly", with what else it says after a stroke.
func inWords(e tracbus.Event, now time.Time) string {
	c := e.About()
	var page tracbus.WikiPage
	var more []string
	was := func(s string) {
		if c.Null.Has(tracbus.AttrOldText) {
			s = "NULL"
		}
		more = append(more, "was "+cmp.Or(s, "-"))
	}
	switch e := e.(type) {
	case tracbus.WikiPageCreated:
		page = e.Page
	case tracbus.WikiPageChanged:
		page = e.Page
		was(e.OldText)
	case tracbus.WikiPageDeleted:
		page = e.Page
	case tracbus.WikiPageRenamed:
		page = e.Page
		was(e.OldName)
	case tracbus.WikiPageVersionDeleted:
		page = e.Page
	case tracbus.WikiPageCommentEdited:
		page = e.Page
		was(e.OldComment)
	}
	if c.Comment != "" {
		more = append(more, "because "+c.Comment)
	}
	word := func(part tracbus.Attrs, s string) string {
		if c.Null.Has(part) {
			return "NULL" + s
		}
		return cmp.Or(s, "-")
	}
	when := fmt.Sprint(page.Time.UnixMicro())
	if page.Time.Equal(now) {
		when = "now"
	} else if page.Time.IsZero() {
		when = word(tracbus.AttrTime, "")
	}
	readonly := 0
	if page.Readonly {
		readonly = 1
	}
	s := fmt.Sprintf("%s %s %d %s %s %s %s %d", e.Kind(), page.Name, page.Version, when, word(tracbus.AttrAuthor, page.Author),
		word(tracbus.AttrText, page.Text), word(tracbus.AttrComment, page.Comment), readonly)
	if more != nil {
		s += " | " + strings.Join(more, " ")
	}
	return s
}
