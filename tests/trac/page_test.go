package trac_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/value"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
)

func TestPagesAreWrittenAsTracWould(t *testing.T) {
	onTracDatabases(t, func(t *testing.T, r *pageRig) {
		for _, c := range slices.Concat(wikiEditCases, wikiAgainCases, wikiRareCases) {
			t.Run(c.rule, func(t *testing.T) {
				r.clear(t)
				r.page(t, "P", c.before...)
				told, now, err := r.change(t, joe, c.steps...)
				if c.err != nil {
					require.ErrorIs(t, err, c.err)
				} else {
					require.NoError(t, err)
					assert.Equal(t, c.told, told)
				}
				assert.Equal(t, c.rows, r.rows(t, now))
				assert.Equal(t, c.caches, r.caches(t))
			})
		}
	})
}

// What is no word of SQL's own in the tests above.
func TestPagesKeepEveryText(t *testing.T) {
	const odd = "P'; DROP TABLE wiki; -- \" ` \\ ? $1 {wiki} % \r\n\t \u2028 é 漢 🐦"
	onTracDatabases(t, func(t *testing.T, r *pageRig) {
		for _, s := range []string{odd, "'", `\`, "?", "{FOR UPDATE}", "a\xffb"} {
			r.clear(t)
			name := "N" + value.Text(s)
			who := tracbus.Actor{Author: s, IPNR: s}
			_, _, err := r.change(t, who,
				trac.PageEdit{Name: name, Text: new(s), Comment: s},
				trac.PageEdit{Name: name, Text: new(s + s), Comment: s + s},
				trac.PageCommentEdit{Name: name, Comment: s},
				trac.PageRename{Name: name, NewName: name + s[:1]})
			require.NoError(t, err)
			page, ok, err := trac.LoadPage(t.Context(), tracdatabase.Snapshot(t, r.bus, r.db), name+s[:1])
			require.NoError(t, err)
			require.True(t, ok)
			page.Time = time.Time{}
			assert.Equal(t, tracbus.WikiPage{Name: name + s[:1], Version: 1, Text: value.Text(s + s), Author: value.Text(s), Comment: value.Text(s)}, page)
			_, _, err = r.change(t, who, deleted{trac.PageEdit{Name: name + s[:1]}})
			require.NoError(t, err)
			assert.Empty(t, r.rows(t, time.Time{}))
		}
	})
}

func TestAnonymous(t *testing.T) {
	onTracDatabases(t, func(t *testing.T, r *pageRig) {
		told, now, err := r.change(t, tracbus.Actor{}, trac.PageEdit{Name: "P", Text: new("x")})
		require.NoError(t, err)
		assert.Equal(t, []string{"created P 1 now anonymous x - 0"}, told)
		assert.Equal(t, []string{"P 1 now anonymous x - 0"}, r.rows(t, now))
	})
}

// Trac before 1.3.2 had a column ipnr, behind author.
func TestOlderTracHasTheAddress(t *testing.T) {
	onTracDatabases(t, func(t *testing.T, r *pageRig) {
		r.sql(t, "ALTER TABLE wiki ADD COLUMN ipnr varchar(100)")
		_, _, err := r.change(t, joe, trac.PageEdit{Name: "P", Text: new("one")}, trac.PageEdit{Name: "P", Text: new("two")})
		require.NoError(t, err)
		assert.Equal(t, []string{"P 1 two 192.0.2.7"}, r.read(t, time.Time{}, "SELECT name, version, text, ipnr FROM wiki"))
	})
}

func TestAttachmentsFollowTheirPage(t *testing.T) {
	onTracDatabases(t, func(t *testing.T, r *pageRig) {
		r.page(t, "P", "1 5 ann one - 0")
		for _, a := range [][2]string{{"wiki", "P"}, {"wiki", "Other"}, {"ticket", "P"}} {
			r.sql(t, "INSERT INTO attachment (type, id, filename) VALUES (?, ?, ?)", a[0], a[1], "a.png")
		}
		_, _, err := r.change(t, joe, trac.PageRename{Name: "P", NewName: "Q"})
		require.NoError(t, err)
		assert.Equal(t, []string{"wiki Other a.png", "ticket P a.png", "wiki Q a.png"}, r.attachments(t))
		_, _, err = r.change(t, joe, deleted{trac.PageVersionDelete{Name: "Q", Version: 1}})
		require.NoError(t, err)
		assert.Equal(t, []string{"wiki Other a.png", "ticket P a.png"}, r.attachments(t))
	})
}

// trac/cache.py, WikiSystem.pages and InterWikiMap.interwiki_map.
func TestRunningTracsLearnOfIt(t *testing.T) {
	onTracDatabases(t, func(t *testing.T, r *pageRig) {
		r.sql(t, "INSERT INTO cache VALUES (?, 41, ?)", 901198563, "trac.wiki.api.WikiSystem.pages")
		for _, step := range []struct {
			what   string
			change any
			want   []string
		}{
			{"a page is created", trac.PageEdit{Name: "P", Text: new("x")}, []string{"pages 42"}},
			{"it is changed", trac.PageEdit{Name: "P", Text: new("y")}, []string{"pages 42"}},
			{"it is renamed", trac.PageRename{Name: "P", NewName: "Q"}, []string{"pages 43"}},
			{"its comment is edited", trac.PageCommentEdit{Name: "Q", Comment: "z"}, []string{"pages 43"}},
			{"a version is deleted", deleted{trac.PageVersionDelete{Name: "Q", Version: 2}}, []string{"pages 43"}},
			{"the last version is deleted", deleted{trac.PageVersionDelete{Name: "Q", Version: 1}}, []string{"pages 44"}},
			{"the map is created", trac.PageEdit{Name: "InterMapTxt", Text: new("x")}, []string{"pages 45", "interwiki_map 0"}},
			{"the map is changed", trac.PageEdit{Name: "InterMapTxt", Text: new("y")}, []string{"pages 45", "interwiki_map 1"}},
			{"nothing is changed", trac.PageEdit{Name: "InterMapTxt", Text: new("y")}, []string{"pages 45", "interwiki_map 1"}},
			{"the map gets readonly", trac.PageEdit{Name: "InterMapTxt", Readonly: new(true)}, []string{"pages 45", "interwiki_map 2"}},
			{"a version of it is deleted", deleted{trac.PageVersionDelete{Name: "InterMapTxt", Version: 2}}, []string{"pages 45", "interwiki_map 3"}},
			{"it is renamed", trac.PageRename{Name: "InterMapTxt", NewName: "P"}, []string{"pages 46", "interwiki_map 4"}},
			{"and back", trac.PageRename{Name: "P", NewName: "InterMapTxt"}, []string{"pages 47", "interwiki_map 5"}},
			{"it is deleted", deleted{trac.PageEdit{Name: "InterMapTxt"}}, []string{"pages 48", "interwiki_map 6"}},
		} {
			_, _, err := r.change(t, joe, step.change)
			require.NoError(t, err, step.what)
			assert.Equal(t, step.want, r.caches(t), step.what)
		}
	})
}

// An application without a Trac may have the table wiki alone.
func TestWithoutTrac(t *testing.T) {
	onTracDatabases(t, func(t *testing.T, r *pageRig) {
		r.sql(t, "DROP TABLE cache")
		r.sql(t, "DROP TABLE attachment")
		for _, step := range []any{
			trac.PageEdit{Name: "P", Text: new("x")}, trac.PageRename{Name: "P", NewName: "InterMapTxt"}, deleted{trac.PageEdit{Name: "InterMapTxt"}},
		} {
			_, _, err := r.change(t, joe, step)
			require.NoError(t, err)
		}
	})
}

// Trac's tables are where the journal's are: where Schema says.
func TestTracInAnotherSchema(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		if s.Dialect == "sqlite" {
			return // it has no schemas
		}
		schema, dsn := s.Name(), s.DSN(s.Name())
		other := s.DSN(schema)
		if s.Postgres != nil {
			_, err := s.Open(t, dsn).ExecContext(t.Context(), "CREATE SCHEMA "+schema)
			require.NoError(t, err)
			other = dsn + "&search_path=" + schema
		}
		r := newPageRig(t, tracbus.Dialect(s.Dialect), s.Open(t, other))
		r.open(t, s.Open(t, dsn), schema)
		r.page(t, "P", "1 5 ann one - 0")
		r.sql(t, "INSERT INTO attachment (type, id, filename) VALUES ('wiki', 'P', 'a.png')")
		_, now, err := r.change(t, joe, trac.PageEdit{Name: "P", Text: new("two")}, trac.PageRename{Name: "P", NewName: "Q"})
		require.NoError(t, err)
		assert.Equal(t, []string{"Q 1 5 ann one - 0", "Q 2 now joe two - 0"}, r.rows(t, now))
		assert.Equal(t, []string{"pages 0"}, r.caches(t))
		assert.Equal(t, []string{"wiki Q a.png"}, r.attachments(t))
	})
}

func TestARolledBackPageIsNowhere(t *testing.T) {
	onTracDatabases(t, func(t *testing.T, r *pageRig) {
		_, _, err := r.change(t, joe, trac.PageEdit{Name: "P", Text: new("x")}, trac.PageEdit{Name: "Q"})
		require.ErrorIs(t, err, tracbus.ErrNotFound)
		assert.Empty(t, r.rows(t, time.Time{}))
		assert.Empty(t, r.caches(t))
	})
}

// MySQL compares texts as if they ended with the same number of spaces.
func TestNoPageIsTakenForAnother(t *testing.T) {
	onTracDatabases(t, func(t *testing.T, r *pageRig) {
		r.page(t, "P", "1 5 ann one - 0")
		_, now, err := r.change(t, joe, trac.PageEdit{Name: "P ", Text: new("two")})
		if r.dialect == tracbus.MySQL {
			require.ErrorIs(t, err, tracbus.ErrInvalidPageName)
			assert.Equal(t, []string{"P 1 5 ann one - 0"}, r.rows(t, now))
			return
		}
		require.NoError(t, err)
		assert.Equal(t, []string{"P 1 5 ann one - 0", "P  1 now joe two - 0"}, r.rows(t, now))
	})
}

func TestListenersReadTracsPages(t *testing.T) {
	onTracDatabases(t, func(t *testing.T, r *pageRig) {
		r.page(t, "P", "1 5 ann one first 0", "3 6 bob three NULL 1")
		r.page(t, "Q", "1 7 ann hello - 0")
		r.page(t, "None", "0 7 ann - - 1")
		s := tracdatabase.Snapshot(t, r.bus, r.db)

		names := map[string]tracbus.WikiPage{}
		for name, err := range trac.LoadPageNames(t.Context(), s) {
			require.NoError(t, err)
			page, ok, err := trac.LoadPage(t.Context(), s, name) // within the loop
			require.NoError(t, err)
			require.True(t, ok)
			names[name] = page
		}
		assert.Equal(t, map[string]tracbus.WikiPage{
			"P": {Name: "P", Version: 3, Text: "three", Readonly: true, Time: time.UnixMicro(6).UTC(), Author: "bob"},
			"Q": {Name: "Q", Version: 1, Text: "hello", Time: time.UnixMicro(7).UTC(), Author: "ann"},
		}, names)

		var versions []tracbus.WikiPage
		for page, err := range trac.LoadPageVersions(t.Context(), s, "P") {
			require.NoError(t, err)
			versions = append(versions, page)
		}
		assert.Equal(t, []tracbus.WikiPage{
			names["P"],
			{Name: "P", Version: 1, Text: "one", Time: time.UnixMicro(5).UTC(), Author: "ann", Comment: "first"},
		}, versions)
		for _, missing := range []string{"None", "P ", "Missing"} {
			_, ok, err := trac.LoadPage(t.Context(), s, missing)
			require.NoError(t, err)
			assert.False(t, ok, missing)
			for range trac.LoadPageVersions(t.Context(), s, missing) {
				assert.Fail(t, "a version of a page that does not exist", missing)
			}
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range trac.LoadPageNames(ctx, s) {
			require.ErrorIs(t, err, context.Canceled)
		}
		for _, err := range trac.LoadPageVersions(ctx, s, "P") {
			require.ErrorIs(t, err, context.Canceled)
		}
		_, _, err := trac.LoadPage(ctx, s, "P")
		require.ErrorIs(t, err, context.Canceled)
	})
}

// TestPageEditUndone: a version that was written is told, also if its text is that
// of the one before again.
func TestPageEditUndone(t *testing.T) {
	onTracDatabases(t, func(t *testing.T, r *pageRig) {
		r.page(t, "P", "1 5 ann hello - 0")
		edit := func(edits ...trac.PageEdit) {
			_, err := r.journal.Update(t.Context(), joe, func(tx *tracbus.ModelTransaction) error {
				for _, e := range edits {
					if err := tx.Save(t.Context(), e); err != nil {
						return err
					}
				}
				return nil
			})
			require.NoError(t, err)
		}
		edit(trac.PageEdit{Name: "P", Text: new("bye")}, trac.PageEdit{Name: "P", Text: new("hello")})
		edit(trac.PageEdit{Name: "P", Text: new("bye")}, trac.PageEdit{Name: "P", Text: new("hello")}, trac.PageEdit{Name: "P", Text: new("hello again")})
		edit(trac.PageEdit{Name: "P", Text: new("hello")})
		edit(trac.PageEdit{Name: "P", Readonly: new(true)})
		edit(trac.PageEdit{Name: "P", Readonly: new(false)}, trac.PageEdit{Name: "P", Readonly: new(true)})
		var pages []string
		for e, err := range r.journal.Since(t.Context(), 0) {
			require.NoError(t, err)
			c := e.(tracbus.WikiPageChanged)
			pages = append(pages, fmt.Sprintf("%d %s was %s readonly=%t", c.Page.Version, c.Page.Text, c.OldText, c.Page.Readonly))
		}
		require.Equal(t, []string{
			"2 hello was hello readonly=false",
			"3 hello again was hello readonly=false",
			"4 hello was hello again readonly=false",
			"4 hello was hello readonly=true",
			"4 hello was hello readonly=true",
		}, pages)
	})
}
