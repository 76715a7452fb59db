package journal_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// TestBadInput: what cannot be kept is refused with an error that says why, and
// nothing of it is written; what can be kept comes back as it was.
func TestBadInput(t *testing.T) {
	tests := []struct {
		name string
		run  func(*testing.T, *testdatabase.Server, string)
	}{
		{"events that cannot be kept", testRefusedEvents},
		{"events of one's own that cannot be kept", testRefusedOwnEvents},
		{"values that look like SQL", testSQLText},
		{"long values", testLongValues},
		{"rows damaged by hand", testDamagedRows},
		{"a realm that panics", testPanickingRealm},
		{"pruned under a slow follower", testPrunedFollower},
		{"pruned under a slow listener", testPrunedListener},
	}
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				testkit.NoLeaks(t)
				test.run(t, s, s.DSN(s.Name()))
			})
		}
	})
}

// rows counts what stands in the journal's tables, and in note, where a test
// puts its own rows.
func rows(t *testing.T, db *sql.DB, dialect string) map[string]int {
	t.Helper()
	tables := []string{"journal_change", "ticket_journal", "ticket_history", "wiki_journal", "wiki_history", "note"}
	n := map[string]int{}
	for _, table := range tables {
		var c int
		require.NoError(t, db.QueryRow("SELECT count(*) FROM "+table).Scan(&c))
		n[table] = c
	}
	return n
}

// refused tries to commit something beside a row of the test's own, and returns
// the error. Nothing may be left of either.
func refused(t *testing.T, d *desk.Desk, dialect string, f func(tx *tracbus.ModelTransaction) error) error {
	t.Helper()
	before := rows(t, d.DB, dialect)
	_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		if _, err := tx.SQL().ExecContext(testkit.Within(t), "INSERT INTO note VALUES (1)"); err != nil {
			return fmt.Errorf("note: %w", err)
		}
		if err := tx.Record(testkit.Within(t), desk.Remark(1, "before")); err != nil {
			return fmt.Errorf("before: %w", err)
		}
		_ = f(tx) // a program that overlooks the error must not be able to commit
		return nil
	})
	assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
	assert.Equal(t, before, rows(t, d.DB, dialect), "rows after an error: %v", err)
	return err
}

func changeOf(f tracbus.Fields) tracbus.TicketChanged {
	return tracbus.TicketChanged{ID: 1, Values: f, Old: tracbus.Fields{}}
}

// dumb is an event of a realm that the journal has, and no entry.
type dumb struct{ tracbus.Change }

func (dumb) Resource() tracbus.Resource                  { return tracbus.Resource{Realm: tracbus.RealmWiki, ID: "x"} }
func (dumb) Kind() tracbus.Kind                          { return tracbus.KindCreated }
func (e dumb) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

func testRefusedEvents(t *testing.T, s *testdatabase.Server, dsn string) {
	d := desk.Seat(t, s, dsn, desk.Config{})
	_, err := d.DB.Exec("CREATE TABLE note (n integer)")
	require.NoError(t, err)
	long := strings.Repeat("é", 501) // 1,002 bytes
	absent := tracbus.Change{Absent: tracbus.AttrAuthor}
	var nilEvent *tracbus.TicketChanged
	decoded, err := tracbus.Decode("trac", "trac.test.ticket.created", `{"id": 1}`)
	require.NoError(t, err)
	type bad struct {
		word  string
		event tracbus.Event
	}
	cases := []bad{
		{"got nil", nil},
		{"got a pointer", nilEvent},
		{"got a pointer", &tracbus.TicketDeleted{ID: 1}},
		{"absent", tracbus.TicketChanged{Change: absent, ID: 1}},
		{"absent", decoded},
		{`no realm "milestone"`, MilestoneDeleted{Milestone: Milestone{Name: "m"}}},
		{`no realm ""`, tracbus.Resync{}},
		{"a method Entry", dumb{}},
		{"env", tracbus.TicketDeleted{Change: tracbus.Change{Env: "a\nb"}, ID: 1}},
		{"ticket 0", tracbus.TicketDeleted{}},
		{"ticket -1", tracbus.TicketCreated{ID: -1}},
		{`field "a": value of type struct {}`, changeOf(tracbus.Fields{"a": struct{}{}})},
		{`field "a": value of type []string`, changeOf(tracbus.Fields{"a": []string{"b"}})},
		{`field "a": number NaN`, changeOf(tracbus.Fields{"a": math.NaN()})},
		{`field "a": number "1_000"`, changeOf(tracbus.Fields{"a": json.Number("1_000")})},
		{`old value of field "a": number +Inf`, tracbus.TicketChanged{ID: 1, Old: tracbus.Fields{"a": math.Inf(1)}}},
		{`field "a\xff"`, changeOf(tracbus.Fields{"a\xff": "b"})},
		{`field "t": time in year 10000`, changeOf(tracbus.Fields{"t": time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)})},
		{"time in year 0", tracbus.TicketDeleted{Change: tracbus.Change{Time: time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC)}, ID: 1}},
		{"a field's name of 1002 bytes", tracbus.TicketChanged{ID: 1, Values: tracbus.Fields{long: "b"}, Old: tracbus.Fields{long: "a"}}},
		{"a field's name of 0 bytes", tracbus.TicketChanged{ID: 1, Values: tracbus.Fields{"": "b"}, Old: tracbus.Fields{"": "a"}}},
		{"an id of 1002 bytes", desk.NewPage(long)},
		{"version -1", tracbus.WikiPageDeleted{Page: tracbus.WikiPage{Name: "x", Version: -1}}},
		{"old page name", tracbus.WikiPageRenamed{Page: desk.NewPage("x").Page, OldName: "x/"}},
	}
	for _, name := range []string{"", "/x", "x/", "x//y", ".", "x/../y", "\xff"} {
		cases = append(cases, bad{"page name", desk.NewPage(name)})
	}
	nul := "a\x00b"
	withNUL := []tracbus.Event{
		desk.NewPage(nul),
		tracbus.WikiPageRenamed{Page: desk.NewPage("x").Page, OldName: nul},
		tracbus.WikiPageChanged{Page: desk.NewPage("x").Page, OldText: nul},
		tracbus.TicketDeleted{Change: tracbus.Change{Comment: nul}, ID: 1},
		tracbus.TicketChanged{ID: 1, New: tracbus.Fields{"a": nul}, Old: tracbus.Fields{"a": ""}},
		tracbus.TicketChanged{ID: 1, New: tracbus.Fields{nul: "b"}, Old: tracbus.Fields{nul: "a"}},
	}
	if s.Dialect == "postgresql" {
		for _, e := range withNUL {
			cases = append(cases, bad{"U+0000, which PostgreSQL cannot store", e})
		}
		_, err := d.Update(testkit.Within(t), tracbus.Actor{Author: nul}, func(*tracbus.ModelTransaction) error { return nil })
		assert.ErrorContains(t, err, "author")
		_, err = d.Update(testkit.Within(t), tracbus.Actor{IPNR: nul}, func(*tracbus.ModelTransaction) error { return nil })
		assert.ErrorContains(t, err, "ipnr")
	}
	for _, c := range cases {
		err := refused(t, d, s.Dialect, func(tx *tracbus.ModelTransaction) error { return tx.Record(testkit.Within(t), c.event) })
		assert.ErrorContains(t, err, c.word, "%+v", c.event)
	}
	err = refused(t, d, s.Dialect, func(tx *tracbus.ModelTransaction) error { return tx.Save(testkit.Within(t), nil) })
	assert.ErrorContains(t, err, "expected a Model, got nil")
	err = refused(t, d, s.Dialect, func(tx *tracbus.ModelTransaction) error { return tx.Delete(testkit.Within(t), nil) })
	assert.ErrorContains(t, err, "expected a Model, got nil")

	// The journal is none the worse for it. What stands at the edge is kept.
	edge := []tracbus.Event{desk.NewPage(long[:1000]), desk.NewPage("a\nb"), tracbus.TicketDeleted{ID: math.MaxInt64, Values: tracbus.Fields{long: nul, "": ""}}}
	if s.Dialect != "postgresql" {
		edge = append(edge, withNUL...)
	}
	var want []tracbus.Event
	for _, e := range edge {
		tid, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error { return tx.Record(testkit.Within(t), e) })
		require.NoError(t, err, "%+v", e)
		require.NoError(t, d.Wait(testkit.Within(t), tid))
		all, _ := d.Heard()
		require.Len(t, all, len(want)+1)
		want = append(want, all[len(want)])
		require.Equal(t, e.Resource(), all[len(want)-1].Resource())
	}
	require.NoError(t, ctxErr(d, want))
}

// ctxErr compares what is read back with what was told.
func ctxErr(d *desk.Desk, want []tracbus.Event) error {
	i := 0
	for e, err := range d.Since(context.Background(), 0) {
		if err != nil {
			return err
		}
		if i >= len(want) || !assert.ObjectsAreEqual(want[i], e) {
			return fmt.Errorf("event %d read back: %#v", i, e)
		}
		i++
	}
	if i != len(want) {
		return fmt.Errorf("%d events read back: expected %d", i, len(want))
	}
	return nil
}

// odd is an event of one's own whose entry is whatever a test wants.
type odd struct {
	tracbus.Change
	entry tracbus.Entry
	other *tracbus.Entry // that Entry returns; nil means entry
}

func (e odd) Resource() tracbus.Resource                { return e.entry.Resource }
func (e odd) Kind() tracbus.Kind                        { return e.entry.Kind }
func (e odd) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }
func (e odd) Entry() tracbus.Entry {
	if e.other != nil {
		return *e.other
	}
	e.entry.Change = e.Change
	return e.entry
}

// oddRealm is theirs.
type oddRealm struct{ name tracbus.Realm }

func (r oddRealm) Realm() tracbus.Realm { return r.name }
func (oddRealm) Event(e tracbus.Entry) (tracbus.Event, error) {
	c := e.Change
	e.Change = tracbus.Change{}
	return odd{Change: c, entry: e}, nil
}

func oddOf(id string, kind tracbus.Kind, f tracbus.Fields) odd {
	return odd{entry: tracbus.Entry{Resource: tracbus.Resource{Realm: "odd", ID: id}, Kind: kind, State: f, New: f, Old: f}}
}

// An event of another package is not normalised by a bus, and its entry may be
// at odds with it.
func testRefusedOwnEvents(t *testing.T, s *testdatabase.Server, dsn string) {
	realms := []tracbus.JournalRealm{tracbus.Tickets{}, tracbus.Pages{}, oddRealm{"odd"}}
	d := desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{Realms: realms}})
	_, err := d.DB.Exec("CREATE TABLE note (n integer)")
	require.NoError(t, err)
	lying := oddOf("a", tracbus.KindChanged, nil)
	lying.other = &tracbus.Entry{Resource: tracbus.Resource{Realm: "odd", ID: "b"}, Kind: tracbus.KindChanged}
	strange := oddOf("a", tracbus.KindChanged, nil)
	strange.other = &tracbus.Entry{Resource: tracbus.Resource{Realm: "none", ID: "a"}, Kind: tracbus.KindChanged}
	other := oddOf("a", tracbus.KindChanged, nil)
	other.other = &tracbus.Entry{Resource: other.Resource(), Kind: tracbus.KindDeleted}
	for word, e := range map[string]odd{
		"an id of 0 bytes":    oddOf("", tracbus.KindChanged, nil),
		"an id of 1001 bytes": oddOf(strings.Repeat("a", 1001), tracbus.KindChanged, nil),
		`id "a\xff"`:          oddOf("a\xff", tracbus.KindChanged, nil),
		`kind ""`:             oddOf("a", "", nil),
		`kind "a.b"`:          oddOf("a", "a.b", nil),
		`kind "aaa`:           oddOf("a", tracbus.Kind(strings.Repeat("a", 101)), nil),
		`kind "\xff"`:         oddOf("a", "\xff", nil),
		"field \"a\xff\"":     oddOf("a", tracbus.KindChanged, tracbus.Fields{"a\xff": ""}),
		"number NaN":          oddOf("a", tracbus.KindChanged, tracbus.Fields{"a": math.NaN()}),
		"type []int":          oddOf("a", tracbus.KindChanged, tracbus.Fields{"a": []int{}}),
		"year 10000":          oddOf("a", tracbus.KindChanged, tracbus.Fields{"a": time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}),
		"odd b changed":       lying,
		"none a changed":      strange,
		"odd a deleted":       other,
	} {
		err := refused(t, d, s.Dialect, func(tx *tracbus.ModelTransaction) error { return tx.Record(testkit.Within(t), e) })
		if word == `field "a`+"\xff"+`"` {
			word = `field "a\xff"`
		}
		assert.ErrorContains(t, err, word, "%+v", e)
	}

	e := oddOf("a", tracbus.KindChanged, tracbus.Fields{
		"int": 1, "float": 0.5, "string": "a\xff", "time": time.Date(2020, 1, 1, 12, 0, 0, 1999, time.FixedZone("", 3600)),
	})
	tid, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error { return tx.Record(testkit.Within(t), e) })
	require.NoError(t, err)
	require.NoError(t, d.Wait(testkit.Within(t), tid))
	all, _ := d.Heard()
	want := tracbus.Fields{"int": json.Number("1"), "float": json.Number("0.5"), "string": "a\uFFFD", "time": time.Date(2020, 1, 1, 11, 0, 0, 1000, time.UTC)}
	require.Equal(t, oddOf("a", tracbus.KindChanged, want), all[0].WithChange(tracbus.Change{}))
}

// sqlTexts would be heard of if a value was ever a part of a statement.
var sqlTexts = []string{
	`'; DROP TABLE ticket_journal; --`, `"; DROP TABLE ticket_journal; --`, `\'; DROP TABLE ticket_journal; -- `, "`; DROP TABLE ticket_journal; --",
	`') ; ROLLBACK; --`, `' OR '1'='1`, `\`, `'`, `''`, `"`, `?`, `??`, `$1`, `:a`, `@a`, `%s`, `%`, `_`, `{journal_lock}`, `{`, `}`, "/* ", "-- ", "#", ";", "$$", "0x27",
	"\u02bc; DROP TABLE ticket_journal", "\xbf'; DROP TABLE ticket_journal; --", "NULL", "null", `\u0000`, `\x00`, "\x1a", "\b\t\n\r",
}

func testSQLText(t *testing.T, s *testdatabase.Server, dsn string) {
	dsns := []string{dsn}
	if s.Dialect == "mysql" {
		for _, mode := range []string{"STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES", "STRICT_TRANS_TABLES,ANSI"} {
			dsns = append(dsns, dsn+"&sql_mode="+url.QueryEscape("'"+mode+"'"))
		}
		dsns = append(dsns, strings.Split(dsn, "?")[0]) // without parameters
	}
	for _, dsn := range dsns {
		d := desk.Seat(t, s, dsn, desk.Config{})
		already := readBack(t, d)
		var want []tracbus.Event
		for i, text := range sqlTexts {
			valid := strings.ToValidUTF8(text, "\uFFFD")
			fields := tracbus.Fields{text: text, "x" + text: nil}
			if text != valid {
				fields = tracbus.Fields{"a": text}
			}
			who := tracbus.Actor{Author: text, IPNR: text}
			events := []tracbus.Event{
				tracbus.TicketChanged{Change: tracbus.Change{Comment: text}, ID: 1, Values: fields, Old: fields},
				tracbus.WikiPageChanged{Change: tracbus.Change{Comment: text}, Page: tracbus.WikiPage{Name: "p" + valid, Version: int64(i), Text: text}, OldText: text + text},
			}
			_, err := d.Update(testkit.Within(t), who, func(tx *tracbus.ModelTransaction) error {
				return errors.Join(tx.Record(testkit.Within(t), events[0]), tx.Record(testkit.Within(t), events[1]))
			})
			require.NoError(t, err, text)
			fields = tracbus.Fields{}
			for name := range events[0].(tracbus.TicketChanged).Values {
				fields[name] = events[0].(tracbus.TicketChanged).Values[name]
				if fields[name] != nil {
					fields[name] = valid
				}
			}
			want = append(want, tracbus.TicketChanged{ID: 1, Values: fields, New: fields, Old: fields},
				tracbus.WikiPageChanged{Page: tracbus.WikiPage{Name: "p" + valid, Version: int64(i), Text: valid, Author: valid, Comment: valid}, OldText: valid + valid})
		}
		got := readBack(t, d)[len(already):]
		require.Len(t, got, len(want))
		for i, e := range got {
			text := strings.ToValidUTF8(sqlTexts[i/2], "\uFFFD")
			c := e.About()
			assert.Equal(t, []string{text, text, text}, []string{c.Author, c.IPNR, c.Comment})
			if p, ok := e.(tracbus.WikiPageChanged); ok {
				p.Page.Time = time.Time{} // the transaction's
				e = p
			}
			assert.Equal(t, want[i], e.WithChange(tracbus.Change{}))
			for h, err := range d.History(testkit.Within(t), e.Resource()) {
				require.NoError(t, err)
				assert.Equal(t, e.Resource(), h.Resource())
			}
		}
	}
	// A name is no value: it is a part of statements.
	for _, realm := range append(slices.DeleteFunc(slices.Clone(sqlTexts), func(s string) bool { return s == "null" }), "", "Ticket", "a-b", "1", strings.Repeat("a", 31), "a.b") {
		_, err := tracbus.OpenJournal(testkit.Within(t), s.Open(t, dsn), tracbus.NewBus("a"), tracbus.JournalConfig{
			Dialect: tracbus.Dialect(s.Dialect), Realms: []tracbus.JournalRealm{oddRealm{tracbus.Realm(realm)}},
		})
		assert.ErrorContains(t, err, "realm ", realm)
		_, err = tracbus.JournalSchema(tracbus.Dialect(s.Dialect), "", tracbus.Realm(realm))
		assert.ErrorContains(t, err, "realm ", realm)
	}
	for _, schema := range sqlTexts {
		config := tracbus.JournalConfig{Dialect: tracbus.Dialect(s.Dialect), Schema: schema}
		_, err := tracbus.OpenJournal(testkit.Within(t), s.Open(t, dsn), tracbus.NewBus("a"), config)
		assert.Error(t, err, schema)
		text, err := tracbus.JournalSchema(tracbus.Dialect(s.Dialect), schema)
		if err == nil && s.Dialect == "postgresql" {
			assert.Contains(t, text, `CREATE TABLE "`+schema+`".journal_change (`)
		}
		assert.False(t, err == nil && strings.ContainsAny(schema, "\"`'\\{}?\x1a\n") || err == nil && (schema == "$$" || !utf8.ValidString(schema)), "%q: taken as a schema's name", schema)
	}
	d := desk.Seat(t, s, dsn, desk.Config{})
	_, err := d.DB.Exec("CREATE TABLE note (n integer)")
	require.NoError(t, err)
	rows(t, d.DB, s.Dialect) // all tables are there
}

func readBack(t *testing.T, d *desk.Desk) (all []tracbus.Event) {
	t.Helper()
	for e, err := range d.Since(testkit.Within(t), 0) {
		require.NoError(t, err)
		all = append(all, e)
	}
	return all
}

func testLongValues(t *testing.T, s *testdatabase.Server, dsn string) {
	d := desk.Seat(t, s, dsn, desk.Config{})
	_, err := d.DB.Exec("CREATE TABLE note (n integer)")
	require.NoError(t, err)
	const mega = 1 << 20
	text := strings.Repeat("0123456789'\\äöü\n", 10*mega/20)
	if s.Dialect == "mysql" {
		var limit int
		require.NoError(t, d.DB.QueryRow("SELECT @@max_allowed_packet").Scan(&limit))
		huge := strings.Repeat("x", limit+1)
		for _, dsn := range []string{dsn, strings.Split(dsn, "?")[0]} {
			d := desk.Seat(t, s, dsn, desk.Config{})
			for _, e := range []tracbus.Event{desk.Remark(1, huge), tracbus.TicketChanged{ID: 1, New: tracbus.Fields{"a": huge}, Old: tracbus.Fields{"a": ""}}} {
				err := refused(t, d, s.Dialect, func(tx *tracbus.ModelTransaction) error { return tx.Record(testkit.Within(t), e) })
				assert.ErrorContains(t, err, "max_allowed_packet")
				assert.Less(t, len(err.Error()), 1000, "the error's length")
			}
		}
	}
	// Many values that are long together only.
	tid, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		for i := range 40 {
			e := desk.Remark(int64(i+1), "")
			e.Values["summary"] = text[:mega]
			if err := tx.Record(testkit.Within(t), e); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, d.Wait(testkit.Within(t), tid))
	all, _ := d.Heard()
	assert.Len(t, all, 40)
	page := desk.NewPage("long")
	page.Page.Text = text
	tid, err = d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
		return errors.Join(
			tx.Record(testkit.Within(t), page),
			tx.Record(testkit.Within(t), tracbus.TicketChanged{ID: 1, Change: tracbus.Change{Comment: text}}),
			tx.Record(testkit.Within(t), tracbus.TicketChanged{ID: 2, New: tracbus.Fields{"a": text}, Old: tracbus.Fields{"a": ""}}),
		)
	})
	require.NoError(t, err)
	require.NoError(t, d.Wait(testkit.Within(t), tid))
	all, _ = d.Heard()
	all = all[len(all)-3:]
	assert.True(t, text == all[0].(tracbus.WikiPageCreated).Page.Text, "the text came back")
	assert.True(t, text == all[1].About().Comment, "the comment came back")
	assert.True(t, text == all[2].(tracbus.TicketChanged).New.Text("a"), "the value came back")
}

// loader is a listener that is loaded from tables, and counts how often.
type loader struct {
	load  func(ctx context.Context, s *tracbus.Snapshot) error
	diary testkit.Diary
}

func (l *loader) Load(ctx context.Context, s *tracbus.Snapshot) error {
	l.diary.Write("load")
	return l.load(ctx, s)
}

func (l *loader) WikiPageCreated(_ context.Context, e tracbus.WikiPageCreated) error {
	l.diary.Write("%s", e.Page.Name)
	return nil
}
func (l *loader) WikiPageChanged(context.Context, tracbus.WikiPageChanged) error { return nil }
func (l *loader) WikiPageDeleted(context.Context, tracbus.WikiPageDeleted) error { return nil }

// resyncing is a listener of pages that is told when it missed changes.
type resyncing struct{ loader }

func (r *resyncing) Resync(_ context.Context, e tracbus.Resync) error {
	r.diary.Write("resync: %s", e.Reason)
	return nil
}

// plainResyncing is one without Load.
type plainResyncing struct {
	tracbus.WikiListener
	tracbus.ResyncListener
}

func testDamagedRows(t *testing.T, s *testdatabase.Server, dsn string) {
	var log testkit.LogRecorder
	cache := &loader{load: func(context.Context, *tracbus.Snapshot) error { return nil }}
	plain := &resyncing{}
	follower := desk.Seat(t, s, dsn, desk.Config{
		Idle:    true,
		Journal: tracbus.JournalConfig{Logger: slog.New(&log)},
		Before: func(b *tracbus.Bus) {
			b.Wiki(tracbus.Everywhere, cache)
			b.Wiki(tracbus.Everywhere, plainResyncing{plain, plain})
		},
	})
	d := desk.Seat(t, s, dsn, desk.Config{Idle: true})
	damages := []string{
		`UPDATE journal_change SET document = '' WHERE id = ?`,
		`UPDATE journal_change SET document = '[]' WHERE id = ?`,
		`UPDATE journal_change SET document = '{}' WHERE id = ?`,
		`UPDATE journal_change SET document = '{"state":{},"changed":[]}' WHERE id = ?`,
		`UPDATE journal_change SET document = '{"changed":[],"state":{"version": 1' WHERE id = ?`,
		`UPDATE journal_change SET document = '{"changed":[],"state":{}} ,' WHERE id = ?`,
		`UPDATE journal_change SET document = '{"changed":[],"state":[]}' WHERE id = ?`,
		`UPDATE journal_change SET document = '{"changed":[],"state":{"version": [1]}}' WHERE id = ?`,
		`UPDATE journal_change SET document = '{"changed":[],"state":{"time": {"time": "x"}}}' WHERE id = ?`,
		`UPDATE journal_change SET document = '{"changed":[],"state":{"x": {"x": 1}}}' WHERE id = ?`,
		`UPDATE journal_change SET document = '{"changed":[],"state":{}}' WHERE id = ?`,
		`UPDATE journal_change SET "change" = 'mangled' WHERE id = ?`,
		`UPDATE journal_change SET "change" = '' WHERE id = ?`,
		`UPDATE journal_change SET "change" = 'created.x', document = 'null' WHERE id = ?`,
		`UPDATE journal_change SET parts = -1 WHERE id = ?`,
	}
	for _, changed := range []string{
		`{}`, `[[]]`, `[null]`, `[["author"]]`, `[["author",null,null,null]]`, `[["author",null,null,null,null,null]]`, `[[1,null,null,"text","x"]]`,
		`[["author","text",1,"text","x"]]`, `[["author","colour","red","colour","blue"]]`, `[["author","number","x","number","1"]]`,
		`[["author","bool",null,"bool",null]]`, `[["author","text","x","time","1.5"]]`, `[["author","text","x","text","y"],]`,
	} {
		damages = append(damages, `UPDATE journal_change SET document = replace(document, '"changed":[]', '"changed":`+changed+`') WHERE id = ?`)
	}
	if s.Dialect == "sqlite" { // whose columns take everything
		damages = append(damages,
			`UPDATE journal_change SET time = 'noon' WHERE id = ?`,
			`UPDATE journal_change SET parts = 'all' WHERE id = ?`,
			`UPDATE journal_change SET authenticated = 17 WHERE id = ?`,
			`UPDATE journal_change SET document = x'ff00' WHERE id = ?`)
	}
	for i, damage := range damages {
		name := fmt.Sprint("page", i)
		d.Create(t, name, "good"+name)
		if s.Dialect == "mysql" {
			damage = strings.ReplaceAll(damage, `"change"`, "`change`")
		}
		result, err := d.DB.Exec(desk.Marks(tracbus.Dialect(s.Dialect), damage), name)
		require.NoError(t, err, damage)
		n, err := result.RowsAffected()
		require.NoError(t, err)
		require.EqualValues(t, 1, n, damage)
	}
	last := d.Create(t, "last")
	follower.Follow()
	require.NoError(t, follower.Wait(testkit.Within(t), last))

	all, _ := follower.Heard()
	require.Len(t, all, 2*len(damages)+1)
	for i, damage := range damages {
		e, ok := all[2*i].(tracbus.Resync)
		if !assert.True(t, ok, "told of %s: %+v", damage, all[2*i]) {
			continue
		}
		assert.Equal(t, tracbus.ResyncEntryUnreadable, e.Reason)
		assert.ErrorContains(t, e.Err, fmt.Sprintf("tid %d", 2*i+1), damage)
		assert.EqualValues(t, 2*i+1, e.TID)
		assert.Equal(t, 1, e.Missed)
		assert.Equal(t, "goodpage"+fmt.Sprint(i), all[2*i+1].Resource().ID)
		assert.Len(t, log.With(fmt.Sprintf("tid %d,", 2*i+1)), 1, "lines on %s", damage)
	}
	// Those who are told of a Resync in another way are told of it too. What was
	// loaded shows the good pages.
	assert.Contains(t, cache.diary.Read(), "load")
	resyncs := 0
	var goods []string
	for _, entry := range plain.diary.Read() {
		if entry == "resync: unreadable" {
			resyncs++
		} else {
			goods = append(goods, entry)
		}
	}
	assert.Equal(t, len(damages), resyncs, "resyncs of a ResyncListener")
	assert.Len(t, goods, len(damages)+1)

	// Reading back says so.
	var bad error
	for _, err := range d.Since(testkit.Within(t), 0) {
		if bad = err; err != nil {
			break
		}
	}
	assert.ErrorContains(t, bad, "tid 1,")
	for _, err := range d.History(testkit.Within(t), tracbus.Resource{Realm: tracbus.RealmWiki, ID: "page0"}) {
		bad = err
	}
	assert.ErrorContains(t, bad, "tid 1,")
	for _, err := range d.History(testkit.Within(t), tracbus.Resource{Realm: tracbus.RealmWiki, ID: "goodpage0"}) {
		assert.NoError(t, err)
	}
}

// panicky is a realm that cannot cope with what it finds.
type panicky struct{ tracbus.Pages }

func (panicky) Event(e tracbus.Entry) (tracbus.Event, error) {
	switch e.Resource.ID {
	case "panic":
		panic("out of tea")
	case "nil":
		return nil, nil
	}
	return tracbus.Pages{}.Event(e)
}

func testPanickingRealm(t *testing.T, s *testdatabase.Server, dsn string) {
	d := desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{Realms: []tracbus.JournalRealm{panicky{}}}})
	last := d.Create(t, "panic", "between", "nil", "good")
	require.NoError(t, d.Wait(testkit.Within(t), last))
	all, _ := d.Heard()
	require.Len(t, all, 4)
	assert.ErrorContains(t, all[0].(tracbus.Resync).Err, "out of tea")
	assert.ErrorContains(t, all[2].(tracbus.Resync).Err, "returned nil")
	assert.Equal(t, "good", all[3].Resource().ID)
}

// A follower that was away while changes were pruned is told so, and goes on with
// those that were not.
func testPrunedFollower(t *testing.T, s *testdatabase.Server, dsn string) {
	for _, before := range []int{0, 3} { // changes that the follower has seen
		d := desk.Seat(t, s, dsn, desk.Config{Idle: true})
		d.Create(t, []string{"a", "b", "c"}[:before]...)
		var log testkit.LogRecorder
		slow := desk.Seat(t, s, dsn, desk.Config{Idle: true, Journal: tracbus.JournalConfig{Logger: slog.New(&log)}})
		last := d.Create(t, "d", "e", "f", "g")
		_, err := d.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 2})
		require.NoError(t, err)
		slow.Follow()
		require.NoError(t, slow.Wait(testkit.Within(t), last))
		after := d.Create(t, "h")
		require.NoError(t, slow.Wait(testkit.Within(t), after))
		all, _ := slow.Heard()
		require.Len(t, all, 4, "told behind %d changes: %v", before, desk.Lines(all))
		e := all[0].(tracbus.Resync)
		assert.Equal(t, tracbus.ResyncPruned, e.Reason)
		assert.ErrorIs(t, e.Err, tracbus.ErrPruned)
		for i, id := range []string{"f", "g", "h"} {
			assert.Equal(t, id, all[1+i].Resource().ID)
		}
		assert.Len(t, log.With("listeners get a Resync"), 1)
	}
}

// A listener that is slow enough for changes to be pruned before it has room for
// them is told so, and the others miss nothing.
func testPrunedListener(t *testing.T, s *testdatabase.Server, dsn string) {
	entered, release := make(chan struct{}), make(chan struct{})
	var slow testkit.Diary
	first := true
	d := desk.Seat(t, s, dsn, desk.Config{
		Bus: tracbus.BusConfig{QueueSize: 4, BatchSize: 1},
		Before: func(b *tracbus.Bus) {
			tracbus.On(b, tracbus.Everywhere, func(ctx context.Context, e tracbus.Event) error {
				if r, ok := e.(tracbus.Resync); ok {
					slow.Write("%s %t", r.Reason, errors.Is(r.Err, tracbus.ErrPruned))
					return nil
				}
				if first {
					first = false
					close(entered)
					<-release
				}
				slow.Write("%s", e.Resource().ID)
				return nil
			})
		},
	})
	d.Create(t, "p1")
	<-entered
	var last int64
	for i := 2; i <= 20; i++ {
		last = d.Create(t, fmt.Sprint("p", i))
	}
	d.Until(t, "all 20 to the others", func(all, _ []tracbus.Event) bool { return len(all) == 20 })
	_, err := d.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 1})
	require.NoError(t, err)
	close(release)
	require.NoError(t, d.Wait(testkit.Within(t), last))
	last = d.Create(t, "p21")
	require.NoError(t, d.Wait(testkit.Within(t), last))
	assert.Equal(t, []string{"p1", "p2", "p3", "p4", "p5", "pruned true", "p20", "p21"}, slow.Read())
	all, _ := d.Heard()
	assert.Len(t, all, 21)
}

// open tries to open a journal.
func open(t *testing.T, db *sql.DB, config tracbus.JournalConfig) error {
	t.Helper()
	bus := tracbus.NewBus("desk")
	j, err := tracbus.OpenJournal(testkit.Within(t), db, bus, config)
	if err == nil {
		assert.NoError(t, j.Close(testkit.Within(t)))
	} else {
		assert.ErrorContains(t, err, "open journal: ")
		assert.NotContains(t, err.Error(), "open journal: open journal: ")
		assert.NoError(t, bus.Notify(tracbus.TicketDeleted{ID: 1}), "the bus is free after an error")
	}
	assert.NoError(t, bus.Close(testkit.Within(t)))
	return err
}

// TestUnfitDatabase: a database that has no journal, one of another version, or
// cannot give the guarantees, is refused, and nothing is changed in it.
func TestUnfitDatabase(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		config := tracbus.JournalConfig{Dialect: tracbus.Dialect(s.Dialect)}
		manual := config
		manual.NoMigrate = true

		t.Run("tables are missing", func(t *testing.T) {
			db := s.New(t)
			err := open(t, db, manual)
			assert.ErrorIs(t, err, tracbus.ErrSchema)
			for _, table := range []string{"journal_facts", "journal_change", "journal_consumer", "journal_dead_letter", "ticket_journal", "ticket_history", "wiki_journal", "wiki_history"} {
				assert.ErrorContains(t, err, table)
				_, err := db.Exec("SELECT * FROM " + table)
				assert.Error(t, err, "%s was made", table)
			}
			text, err := tracbus.JournalSchema(config.Dialect, "", tracbus.RealmTicket)
			require.NoError(t, err)
			for statement := range strings.SplitSeq(text, "\n\n") {
				if statement != "" {
					_, err := db.Exec(statement)
					require.NoError(t, err, statement)
				}
			}
			err = open(t, db, manual)
			assert.ErrorIs(t, err, tracbus.ErrSchema)
			assert.ErrorContains(t, err, "wiki_journal")
			assert.NotContains(t, err.Error(), "ticket_journal")
			assert.NoError(t, open(t, db, config), "makes what is missing")
			assert.NoError(t, open(t, db, manual), "all is there")
		})
		t.Run("half of the tables are missing", func(t *testing.T) {
			for _, table := range []string{"ticket_history", "journal_change", "journal_facts", "journal_consumer", "journal_dead_letter"} {
				db := s.New(t)
				require.NoError(t, open(t, db, config))
				drop := "DROP TABLE " + table
				if table == "ticket_history" {
					drop = "DROP VIEW " + table
				} else if s.Dialect == "postgresql" {
					drop += " CASCADE"
				}
				_, err := db.Exec(drop)
				require.NoError(t, err)
				err = open(t, db, manual)
				assert.ErrorIs(t, err, tracbus.ErrSchema)
				assert.ErrorContains(t, err, table)
				if err = open(t, db, config); err != nil {
					assert.ErrorIs(t, err, tracbus.ErrSchema)
					assert.ErrorContains(t, err, table)
				} else {
					d := desk.Seat(t, s, "", desk.Config{DB: db})
					require.NoError(t, d.Wait(testkit.Within(t), d.Say(t, "works", 1)))
				}
			}
		})
		t.Run("another version", func(t *testing.T) {
			for _, version := range []int{0, 4, 99} {
				db := s.New(t)
				require.NoError(t, open(t, db, config))
				_, err := db.Exec(fmt.Sprintf("UPDATE journal_facts SET schema_version = %d", version))
				require.NoError(t, err)
				err = open(t, db, config)
				assert.ErrorIs(t, err, tracbus.ErrSchema)
				assert.ErrorContains(t, err, fmt.Sprintf("version %d", version))
				assert.ErrorContains(t, err, "version 3")
			}
		})
		t.Run("no facts", func(t *testing.T) {
			db := s.New(t)
			require.NoError(t, open(t, db, config))
			_, err := db.Exec("DELETE FROM journal_facts")
			require.NoError(t, err)
			assert.ErrorIs(t, open(t, db, config), tracbus.ErrSchema)
		})
		t.Run("another dialect", func(t *testing.T) {
			for _, d := range []tracbus.Dialect{"", "oracle", "SQLite", tracbus.SQLite, tracbus.PostgreSQL, tracbus.MySQL} {
				if d == config.Dialect {
					continue
				}
				db := s.New(t)
				assert.ErrorContains(t, open(t, db, tracbus.JournalConfig{Dialect: d}), fmt.Sprintf("dialect %q", d))
				assert.NoError(t, open(t, db, config), "the database is untouched")
				_, err := tracbus.JournalSchema(d, "")
				assert.Equal(t, d == "" || d == "oracle" || d == "SQLite", err != nil, "the schema for dialect %q", d)
			}
		})
		t.Run("read-only", func(t *testing.T) { testReadOnly(t, s) })
		switch s.Dialect {
		case "sqlite":
			t.Run("in memory", func(t *testing.T) { testInMemory(t, s) })
		case "postgresql":
			t.Run("a sequence that caches", func(t *testing.T) { testSequence(t, s) })
			t.Run("a standby", func(t *testing.T) {
				testkit.NoLeaks(t)
				testStandby(t, testdatabase.New(t, s.Dialect))
			})
		case "mysql":
			t.Run("sql_mode", func(t *testing.T) { testSQLMode(t, s) })
		}
	})
}

// testReadOnly: who may only read can follow, and is told why it cannot write.
func testReadOnly(t *testing.T, s *testdatabase.Server) {
	name := s.Name()
	dsn := s.DSN(name)
	admin := desk.Seat(t, s, dsn, desk.Config{Idle: true}) // else its goroutines may begin after others are counted
	_, err := admin.DB.Exec("CREATE TABLE note (n integer)")
	require.NoError(t, err)
	exec := func(statements ...string) {
		for _, text := range statements {
			_, err := admin.DB.Exec(text)
			require.NoError(t, err, text)
		}
	}
	type reader struct{ name, dsn, word, before string }
	var readers []reader
	empty := "" // a database without tables, read-only
	switch s.Dialect {
	case "sqlite":
		readers = []reader{{"mode=ro", strings.Replace(dsn, "?", "?mode=ro&", 1), "readonly database", "PRAGMA user_version"}}
		empty = "file:" + filepath.Join(t.TempDir(), "none.db") + "?mode=ro"
	case "postgresql":
		exec("CREATE ROLE reader LOGIN", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader")
		readers = []reader{
			{"default_transaction_read_only", dsn + "&default_transaction_read_only=on", "read-only transaction", "SELECT 1"},
			{"a role without rights", strings.Replace(dsn, "postgres@", "reader@", 1), "permission denied", "SELECT 1"},
		}
		empty = strings.Replace(s.DSN(s.Name()), "postgres@", "reader@", 1)
	case "mysql":
		exec("CREATE USER reader", "GRANT SELECT ON "+name+".* TO reader", "CREATE USER writer", "GRANT ALL ON *.* TO writer",
			"REVOKE READ_ONLY ADMIN, SUPER ON *.* FROM writer", "SET GLOBAL read_only = 1")
		defer exec("SET GLOBAL read_only = 0", "DROP USER reader", "DROP USER writer")
		readers = []reader{
			{"read_only", strings.Replace(dsn, "root@", "writer@", 1), "read-only", "SET GLOBAL read_only = 1"},
			{"a user without rights", strings.Replace(dsn, "root@", "reader@", 1), "denied", "SET GLOBAL read_only = 0"},
		}
		empty = strings.Replace(s.DSN(s.Name()), "root@", "writer@", 1)
	}
	before := rows(t, admin.DB, s.Dialect)
	assert.ErrorContains(t, open(t, s.Open(t, empty), tracbus.JournalConfig{Dialect: tracbus.Dialect(s.Dialect)}), "")
	for _, r := range readers {
		t.Run(r.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			exec(r.before)
			d := desk.Seat(t, s, r.dsn, desk.Config{})
			for _, own := range []bool{false, true} {
				_, err := d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error {
					if own {
						_, err := tx.SQL().ExecContext(testkit.Within(t), "INSERT INTO note VALUES (1)")
						return err
					}
					return tx.Record(testkit.Within(t), desk.Remark(1, "no"))
				})
				assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
				assert.ErrorContains(t, err, r.word)
			}
			assert.Equal(t, before, rows(t, admin.DB, s.Dialect))
			_, err := d.Prune(testkit.Within(t), tracbus.Retention{KeepLast: 1})
			if before["journal_change"] > 1 {
				assert.ErrorContains(t, err, r.word)
			}
			tid := admin.Say(t, "yes", 1)
			before = rows(t, admin.DB, s.Dialect)
			require.NoError(t, d.Wait(testkit.Within(t), tid), "a reader follows")
			all, _ := d.Heard()
			assert.Equal(t, []string{"yes"}, desk.Comments(all))
		})
	}
}

func testInMemory(t *testing.T, s *testdatabase.Server) {
	for _, dsn := range []string{":memory:", "file::memory:?cache=shared", "file:x?mode=memory", ""} {
		db := s.Open(t, dsn)
		err := open(t, db, tracbus.JournalConfig{Dialect: tracbus.SQLite})
		assert.ErrorIs(t, err, tracbus.ErrUnsupportedDatabase, dsn)
		assert.ErrorContains(t, err, "SetMaxOpenConns(1)", dsn)
		db.SetMaxOpenConns(1)
		d := desk.Seat(t, s, "", desk.Config{DB: db})
		for i := range 20 {
			require.NoError(t, d.Wait(testkit.Within(t), d.Say(t, fmt.Sprint(i), 1)))
		}
	}
}

func testSequence(t *testing.T, s *testdatabase.Server) {
	for word, change := range map[string]string{
		"CACHE 20":     "ALTER SEQUENCE journal_tid CACHE 20",
		"INCREMENT 2":  "ALTER SEQUENCE journal_tid INCREMENT 2",
		"CYCLE true":   "ALTER SEQUENCE journal_tid CYCLE",
		"missing":      "DROP SEQUENCE journal_tid",
		"INCREMENT -1": "ALTER SEQUENCE journal_tid INCREMENT -1",
	} {
		db := s.New(t)
		config := tracbus.JournalConfig{Dialect: tracbus.PostgreSQL}
		require.NoError(t, open(t, db, config))
		_, err := db.Exec(change)
		require.NoError(t, err)
		err = open(t, db, config)
		assert.True(t, errors.Is(err, tracbus.ErrUnsupportedDatabase) || errors.Is(err, tracbus.ErrSchema), "%s: %v", change, err)
		assert.ErrorContains(t, err, "sequence journal_tid")
		assert.ErrorContains(t, err, word)
	}
}

// testStandby: a standby is refused, also where a follower finds itself on one
// because the primary went away.
func testStandby(t *testing.T, s *testdatabase.Server) {
	name := s.Name()
	dsn := s.DSN(name)
	writer := desk.Seat(t, s, dsn, desk.Config{})
	writer.Say(t, "first", 1)
	standby := s.Postgres.Standby(t)
	direct := s.Open(t, standby.DSN(name))
	testkit.Until(t, "the standby has the change", func() bool {
		var n int
		return direct.QueryRow("SELECT count(*) FROM ticket_journal").Scan(&n) == nil && n == 1
	})
	err := open(t, direct, tracbus.JournalConfig{Dialect: tracbus.PostgreSQL})
	assert.ErrorIs(t, err, tracbus.ErrUnsupportedDatabase)
	assert.ErrorContains(t, err, "standby")

	// Whichever of the two answers, as some have it.
	both := strings.Replace(dsn, s.Postgres.Addr(), s.Postgres.Addr()+","+standby.Addr(), 1)
	var log testkit.LogRecorder
	d := desk.Seat(t, s, both, desk.Config{Journal: tracbus.JournalConfig{Logger: slog.New(&log)}})
	require.NoError(t, d.Wait(testkit.Within(t), writer.Say(t, "second", 1)))
	s.Postgres.Stop()
	s.Postgres.Kill()
	testkit.Until(t, "the follower says that it is on a standby", func() bool { return len(log.With("standby")) > 0 })
	_, err = d.Status(testkit.Within(t))
	assert.ErrorIs(t, err, tracbus.ErrUnsupportedDatabase)
	_, err = d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error { return tx.Record(testkit.Within(t), desk.Remark(1, "no")) })
	assert.ErrorIs(t, err, tracbus.ErrNotCommitted)
	for _, err := range d.Since(testkit.Within(t), 0) {
		assert.ErrorIs(t, err, tracbus.ErrUnsupportedDatabase)
	}
	all, _ := d.Heard()
	assert.Equal(t, []string{"second"}, desk.Comments(all), "told on the way")

	s.Postgres.Restart()
	for _, db := range []*sql.DB{d.DB, writer.DB} { // connections to the standby would do for ever
		db.SetMaxIdleConns(0)
	}
	require.NoError(t, d.Wait(testkit.Within(t), writer.Say(t, "third", 1)))
	all, _ = d.Heard()
	assert.Equal(t, []string{"second", "third"}, desk.Comments(all), "told by the primary again")
}

func testSQLMode(t *testing.T, s *testdatabase.Server) {
	dsn := s.DSN(s.Name())
	for _, mode := range []string{"", "ANSI_QUOTES", "NO_ZERO_DATE"} {
		err := open(t, s.Open(t, dsn+"&sql_mode="+url.QueryEscape("'"+mode+"'")), tracbus.JournalConfig{Dialect: tracbus.MySQL})
		assert.ErrorIs(t, err, tracbus.ErrUnsupportedDatabase)
		assert.ErrorContains(t, err, "STRICT_TRANS_TABLES")
		assert.ErrorContains(t, err, "sql_mode "+mode+" cuts what is too long")
	}
	none, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	none.DBName = ""
	err = open(t, s.Open(t, none.FormatDSN()), tracbus.JournalConfig{Dialect: tracbus.MySQL})
	assert.ErrorIs(t, err, tracbus.ErrUnsupportedDatabase)
	assert.ErrorContains(t, err, "schema")
}
