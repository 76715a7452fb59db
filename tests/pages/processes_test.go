package pages_test

import (
	"context"
	"database/sql"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/pages"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
)

// derivedProcess is what a process of a tracker derives from its wiki. Several
// of them on one database, each with a pool, a bus and a journal of its own, know
// nothing of each other but what the database tells them.
type derivedProcess struct {
	journal *tracbus.Journal
	links   *pages.InterMap
	bad     *pages.BadContent
	pages   *pages.Index
}

func startDerived(t *testing.T, db *sql.DB, dialect tracbus.Dialect) derivedProcess {
	t.Helper()
	config := pages.Config{Logger: slog.New(slog.DiscardHandler)}
	bus := tracbus.NewBus("test")
	p := derivedProcess{links: pages.NewInterMap(pages.InterMapConfig{Config: config}), bad: pages.NewBadContent(config), pages: pages.NewIndex(config)}
	bus.Wiki(tracbus.Everywhere, p.links)
	bus.Wiki(tracbus.Everywhere, p.bad)
	bus.Wiki(tracbus.Everywhere, p.pages)
	var err error
	p.journal, err = tracbus.OpenJournal(t.Context(), db, bus, tracbus.JournalConfig{Dialect: dialect, PollInterval: 5 * time.Millisecond})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- p.journal.Run(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		assert.NoError(t, p.journal.Close(ctx))
		assert.NoError(t, <-ended)
		assert.NoError(t, bus.Close(ctx))
	})
	return p
}

// save changes the wiki through this process, and returns when the others have
// heard of it.
func (p derivedProcess) save(t *testing.T, m tracbus.Model, others ...derivedProcess) {
	t.Helper()
	p.update(t, others, func(ctx context.Context, tx *tracbus.ModelTransaction) error { return tx.Save(ctx, m) })
}

func (p derivedProcess) delete(t *testing.T, m tracbus.Model, others ...derivedProcess) {
	t.Helper()
	p.update(t, others, func(ctx context.Context, tx *tracbus.ModelTransaction) error { return tx.Delete(ctx, m) })
}

func (p derivedProcess) update(t *testing.T, others []derivedProcess, f func(context.Context, *tracbus.ModelTransaction) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tid, err := p.journal.Update(ctx, tracbus.Actor{Author: "joe"}, func(tx *tracbus.ModelTransaction) error { return f(ctx, tx) })
	require.NoError(t, err)
	for _, other := range append(others, p) {
		require.NoError(t, other.journal.Wait(ctx, tid))
	}
}

func (p derivedProcess) link(prefix, target string) string {
	url, _, _ := p.links.Expand(prefix, target)
	return url
}

// TestDerivedValuesAreTheSameInEveryProcess is Trac's own trouble (#1890 and its
// proposal): a page is edited in one process, and the others have its pages.InterMap,
// its pages.BadContent and its name. The last process starts when all is done.
func TestDerivedValuesAreTheSameInEveryProcess(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		dsn, dialect := s.DSN(s.Name()), tracbus.Dialect(s.Dialect)
		db := s.Open(t, dsn)
		for _, statement := range tracdatabase.Schema(dialect) {
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err, statement)
		}
		one := startDerived(t, db, dialect)
		one.save(t, trac.PageEdit{Name: "InterMapTxt", Text: new("----\nPEP http://python/$1\n")})
		one.save(t, trac.PageEdit{Name: "BadContent", Text: new("{{{\ncasino\n}}}")})

		two := startDerived(t, s.Open(t, dsn), dialect)
		all := []derivedProcess{one, two}
		check := func(what, pep, bad string, broken bool, pages ...string) {
			t.Helper()
			for i, p := range all {
				assert.Equal(t, pep, p.link("pep", "8"), "%s: process %d", what, i)
				pattern, _, _ := p.bad.Match(t.Context(), "a casino for books")
				assert.Equal(t, bad, pattern, "%s: process %d", what, i)
				assert.Equal(t, broken, p.bad.Err() != nil, "%s: process %d: %v", what, i, p.bad.Err())
				assert.Equal(t, pages, slices.Sorted(p.pages.Get().All()), "%s: process %d", what, i)
			}
		}

		two.save(t, trac.PageEdit{Name: "InterMapTxt", Text: new("----\nPEP http://peps/$1\n")}, one)
		check("the second loaded what was there, and the first heard of an edit",
			"http://peps/8", "casino", false, "BadContent", "InterMapTxt")

		one.delete(t, trac.PageVersionDelete{Name: "InterMapTxt", Version: 2}, two)
		check("the newest version is deleted: the one before is loaded",
			"http://python/8", "casino", false, "BadContent", "InterMapTxt")

		two.save(t, trac.PageEdit{Name: "BadContent", Text: new("{{{\nbooks\ncasino(\n}}}")}, one)
		check("a broken version: the rest of it is used",
			"http://python/8", "books", true, "BadContent", "InterMapTxt")

		one.save(t, trac.PageRename{Name: "InterMapTxt", NewName: "Links"}, two)
		check("renamed away", "", "books", true, "BadContent", "Links")
		one.save(t, trac.PageRename{Name: "Links", NewName: "InterMapTxt"}, two)
		check("renamed back", "http://python/8", "books", true, "BadContent", "InterMapTxt")

		two.save(t, trac.PageRename{Name: "BadContent", NewName: "Draft"}, one)
		check("the broken page is gone", "http://python/8", "", false, "Draft", "InterMapTxt")
		two.save(t, trac.PageRename{Name: "Draft", NewName: "BadContent"}, one)
		check("it is back", "http://python/8", "books", true, "BadContent", "InterMapTxt")

		all = append(all, startDerived(t, s.Open(t, dsn), dialect))
		one.save(t, trac.PageEdit{Name: "WikiStart", Text: new("Welcome")}, all[1:]...)
		check("a process that starts now has the same",
			"http://python/8", "books", true, "BadContent", "InterMapTxt", "WikiStart")

		one.delete(t, trac.PageVersionDelete{Name: "BadContent", Version: 1}, all[1:]...)
		check("the version before it is deleted, which changes nothing",
			"http://python/8", "books", true, "BadContent", "InterMapTxt", "WikiStart")
		one.delete(t, trac.PageEdit{Name: "BadContent"}, all[1:]...)
		one.delete(t, trac.PageEdit{Name: "InterMapTxt"}, all[1:]...)
		check("deleted", "", "", false, "WikiStart")
	})
}
