package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
)

// openJournal opens the processes' journal in the test, which tells nobody.
func (r *rig) openJournal() (*tracbus.Journal, *sql.DB) {
	r.t.Helper()
	dsn := r.dsn
	if r.server.Dialect == "sqlite" {
		dsn = testdatabase.SQLite(dsn)
	}
	db := r.server.Open(r.t, dsn)
	bus := tracbus.NewBus("tracker")
	j, err := tracbus.OpenJournal(ticking(r.t), db, bus, tracbus.JournalConfig{Dialect: tracbus.Dialect(r.server.Dialect)})
	require.NoError(r.t, err)
	r.t.Cleanup(func() {
		assert.NoError(r.t, j.Close(ticking(r.t)))
		assert.NoError(r.t, bus.Close(ticking(r.t)))
	})
	return j, db
}

// A stream keeps nothing of a form: that would be in memory as long as somebody watches.
func TestStreamReadsNoForm(t *testing.T) {
	s, p := newInside(t, settings{})
	form := strings.Repeat("--x\r\nContent-Disposition: form-data; name=\"after\"\r\n\r\nbad\r\n", 9) + "--x--\r\n"
	for path, want := range map[string]int{"/changes": 200, "/changes?after=bad": 400} {
		ctx, cancel := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, p.url+path, strings.NewReader(form))
		r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		cancel() // the stream begins, and ends
		answer := httptest.NewRecorder()
		s.streamChanges(answer, r)
		assert.Equal(t, want, answer.Code, path)
		assert.Nil(t, r.MultipartForm, path)
		left, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		assert.Equal(t, form, string(left), path)
	}
}

// No route, not even one without a form, reads more of a request than a form may have.
func TestRequestsAreLimited(t *testing.T) {
	var read int64
	handler := withLimit(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var err error
		read, err = io.Copy(io.Discard, r.Body)
		assert.ErrorAs(t, err, new(*http.MaxBytesError))
	}))
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/changes", strings.NewReader(strings.Repeat("x", 2*mostForm))))
	assert.EqualValues(t, mostForm, read)
}

// What happens in one process is told to the browsers of another, and who
// reconnects, to whatever process, goes on without a gap.
func TestStream(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		t.Parallel()
		r := newRig(t, s)
		p, q := r.start(), r.start()
		c := newClient(t, p)

		f := follow(t, q, "", "")
		assert.Equal(t, "created WikiStart tracker", f.expect("change")[:25])
		c.ticket("summary", "one & <two>", "author", "joe")
		assert.Contains(t, f.expect("change"), "created #1 one & <two> joe ")
		c.send("/tickets/1", "/tickets/1", "comment", "first", "milestone", "m1", "author", "ann")
		assert.Contains(t, f.expect("change"), `changed #1 one & <two> ann`)
		other, _ := r.openJournal() // a program that takes any name
		_, err := other.Update(ticking(t), tracbus.Actor{Author: "ann"}, func(tx *tracbus.ModelTransaction) error {
			return tx.Save(ticking(t), trac.PageEdit{Name: "Odd\rid: 9", Text: new("x"), Base: trac.NoPage})
		})
		require.NoError(t, err)
		assert.Contains(t, f.expect("change"), "created Odd id: 9")
		assert.True(t, strings.HasPrefix(f.last, "4.0."), "a page's name must not speak for the stream: %s", f.last)

		f.end()
		c.signIn("ann")
		for i := range 3 {
			c.ticket("summary", fmt.Sprint("ticket ", i))
		}
		c.send("/tickets", "/tickets/batch", "ticket", "2", "ticket", "3", "ticket", "4", "milestone", "m9")
		f = follow(t, p, "", f.last)
		for i := range 3 {
			assert.Contains(t, f.expect("change"), fmt.Sprintf("created #%d ticket %d ann", i+2, i))
		}
		assert.Contains(t, f.expect("change"), "changed #2 ticket 0 ann")
		middle := f.last // of a transaction
		f.end()
		q.kill()
		q = r.start()
		f = follow(t, q, "", middle)
		assert.Contains(t, f.expect("change"), "changed #3 ticket 1 ann")
		assert.Contains(t, f.expect("change"), "changed #4 ticket 2 ann")
		c.ticket("summary", "last")
		assert.Contains(t, f.expect("change"), "created #5 last ann")
	})
}

// A browser that cannot go on where it was is told to load anew, and is up to
// date behind that.
func TestStreamResync(t *testing.T) {
	r := newRig(t, testdatabase.New(t, "sqlite"))
	p := r.start()
	c := newClient(t, p)
	for i := range 5 {
		c.ticket("summary", fmt.Sprint(i))
	}
	journal, db := r.openJournal()
	f := follow(t, p, "", "")
	for range 6 {
		f.expect("change")
	}
	newest := f.last

	tid, rest, _ := strings.Cut(newest, ".")
	for what, after := range map[string]string{
		"another mark":        tid + ".0.ANOTHER",
		"a tid of the future": "1000" + tid + "." + rest,
	} {
		f := follow(t, p, "", after)
		f.expect("resync")
		assert.Equal(t, newest, f.last, what)
	}

	// The database's history goes back by two transactions.
	_, err := db.ExecContext(ticking(t), "DELETE FROM journal_change WHERE tid >= 5")
	require.NoError(t, err)
	f.expect("resync")
	assert.True(t, strings.HasPrefix(f.last, "4."), "%s", f.last)
	c.ticket("summary", "after that")
	assert.Contains(t, f.expect("change"), "created #6 after that")

	// What it was to be told next is pruned.
	place := f.last
	f.end()
	c.ticket("summary", "pruned")
	c.ticket("summary", "the last")
	_, err = journal.Prune(ticking(t), tracbus.Retention{KeepLast: 1, DropUnconsumedAfter: 1})
	require.NoError(t, err)
	gone := c.get("/wiki/WikiStart?diff=1.0." + strings.SplitN(newest, ".", 3)[2])
	assert.Equal(t, http.StatusGone, gone.status)
	assert.Contains(t, gone.problem(), "does not go back that far")
	f = follow(t, p, "", place)
	f.expect("resync")
	c.ticket("summary", "more")
	assert.Contains(t, f.expect("change"), "more")

	for _, place := range []string{"x", "1", "1.x", "1.0.", "-1.0.a", "1.-1.a", "99999999999999999999.0.a"} {
		a := c.get("/changes?after=" + place)
		assert.Equal(t, http.StatusBadRequest, a.status, "%s", place)
		assert.Contains(t, a.body, "expected a place, as in 17.0.a1b2")
	}
}

// A process that ends says so to its browsers at once, finishes what it was asked
// for, and ends in order.
func TestStop(t *testing.T) {
	r := newRig(t, testdatabase.New(t, "sqlite"))
	p := r.start()
	f := follow(t, p, "", "")
	f.expect("change")
	c := newClient(t, p)
	c.ticket("summary", "the last")
	require.NoError(t, p.stop())
	for {
		if e, ok := f.next(); !ok {
			break
		} else {
			assert.Contains(t, e.data, "the last")
		}
	}
	q := r.start("-listen", p.address()) // the port is free, the ticket is stored
	assert.Contains(t, newClient(t, q).get("/tickets").body, "the last")
}

// The page and its stream fit together: what the page shows is not told again,
// and what it does not show is.
func TestPageAndStream(t *testing.T) {
	t.Parallel()
	r := newRig(t, testdatabase.New(t, "sqlite"))
	p := r.start()
	c := newClient(t, p)
	for i := range 60 {
		c.ticket("summary", fmt.Sprint("ticket ", i))
	}
	page := c.get("/")
	assert.Equal(t, changesPerPage, strings.Count(page.body, `data-place="`))
	_, after, _ := strings.Cut(page.body, `data-after="`)
	after, _, _ = strings.Cut(after, `"`)
	f := follow(t, p, after, "")
	c.ticket("summary", "one more")
	assert.Contains(t, f.expect("change"), "one more")

	older := c.get("/?before=12")
	assert.Equal(t, 11, strings.Count(older.body, `data-place="`))
	assert.Contains(t, older.body, "WikiStart")
	assert.NotContains(t, older.body, "Older changes")
	assert.NotContains(t, older.body, "data-grows", "an old page does not grow")
}

// A stream is read as browsers read it.
func TestReadEvents(t *testing.T) {
	var got []told
	require.NoError(t, readEvents(strings.NewReader("retry: 1\n\n:\n\nid: 1\nevent: a\ndata: x\rdata:y\r\n\ndata: z\n\n"),
		func(e told) bool { got = append(got, e); return true }))
	assert.Equal(t, []told{{"1", "a", "x\ny"}, {"1", "", "z"}}, got)
	assert.ErrorIs(t, readEvents(io.MultiReader(strings.NewReader("a"), errReader{}), nil), io.ErrUnexpectedEOF)
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
