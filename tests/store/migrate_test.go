package store_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/internal/progress"
	"github.com/tracbus/tracbus/internal/store"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// run runs the statements of a file of schema/ as version 2 had it, in the schema of the
// connection.
func run(t *testing.T, db *sql.DB, dialect, file, realm string) {
	t.Helper()
	text, err := os.ReadFile("testdata/version2/" + dialect + file)
	require.NoError(t, err)
	words := strings.NewReplacer("{", "", "}", "", "REALM", realm)
	if dialect == "mysql" {
		words = strings.NewReplacer("{", "", "}", "", "REALM", realm, `"`, "`")
	}
	for statement := range strings.SplitSeq(strings.TrimSpace(words.Replace(string(text))), "\n\n") {
		_, err := db.Exec(statement)
		require.NoError(t, err, statement)
	}
}

// one returns the one value of a query.
func one[V any](t *testing.T, db *sql.DB, query string) (v V) {
	t.Helper()
	require.NoError(t, db.QueryRow(query).Scan(&v), query)
	return v
}

// an old is a journal as version 2 of the tables left it.
type old struct {
	*sql.DB
	tx      *sql.Tx // nil: none
	t       *testing.T
	dialect string
	uuid    string
}

// oldRealms are those that it has. The last has tables and no change.
var oldRealms = []string{"ticket", "wiki", "milestone"}

// versionTwo makes one, without changes, or as version 1 left it.
func versionTwo(t *testing.T, db *sql.DB, dialect string, version int) old {
	t.Helper()
	run(t, db, dialect, ".sql", "")
	for _, realm := range oldRealms {
		run(t, db, dialect, "_realm.sql", realm)
	}
	if version == 2 {
		run(t, db, dialect, "_2.sql", "")
	}
	require.Equal(t, version, one[int](t, db, "SELECT schema_version FROM journal_facts"))
	return old{db, nil, t, dialect, one[string](t, db, "SELECT uuid FROM journal_facts")}
}

func (o old) exec(query string, args ...any) {
	o.t.Helper()
	if o.dialect == "postgresql" {
		for i := range args {
			query = strings.Replace(query, "?", "$"+strconv.Itoa(i+1), 1)
		}
	}
	if o.dialect == "mysql" {
		query = strings.ReplaceAll(query, `"`, "`")
	}
	exec := o.Exec
	if o.tx != nil {
		exec = o.tx.Exec
	}
	_, err := exec(query, args...)
	require.NoError(o.t, err, query)
}

// take takes the next tid, as version 2 did.
func (o old) take(tid int, realms string) {
	o.t.Helper()
	if o.dialect == "postgresql" {
		o.exec("SELECT journal_allocate(?, 'o', ?)", o.mark(tid), realms)
		return
	}
	if o.dialect == "mysql" {
		o.exec("UPDATE journal_head SET tid = tid + 1")
	}
	o.exec("INSERT INTO journal_transaction (tid, mark, origin, realms) VALUES (?, ?, 'o', ?)", tid, o.mark(tid), realms)
}

func (o old) mark(tid int) string { return "mark" + strconv.Itoa(tid) }

// texts are values that a text of JSON has to quote, or could end early.
var texts = []string{"", "t", `"`, `\`, "a\r\nb\tc", "}],{", "\u2028 \U0001F600 é", `\u0041`, "'", "null", strings.Repeat("long ", 100_000)}

// change writes a change, with one field for each of its texts, and one of each other type.
func (o old) change(tid, seq int, realm, id string, texts ...string) {
	o.t.Helper()
	o.exec(`INSERT INTO `+realm+`_journal (tid, seq, id, "change", time, author, ipnr, authenticated, comment, parts, state) VALUES (?, ?, ?, 'changed', ?, 'joe', '::1', 1, ?, 0, ?)`,
		tid, seq, id, 1_700_000_000_000_000+tid, `why "so"`, `{"kept":"v","n":1.50}`)
	field := func(name string, values ...any) {
		o.exec(`INSERT INTO `+realm+`_history (tid, seq, id, field, old_type, old_value, new_type, new_value) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, append([]any{tid, seq, id, name}, values...)...)
	}
	for i, text := range texts {
		field("f"+strconv.Itoa(i)+text[:min(3, len(text))], "text", text, "text", text+".")
	}
	field("new", nil, nil, "number", "1.50")
	field("gone", "bool", "true", nil, nil)
	field("null", "null", nil, "time", "1700000000123456")
}

// fill writes transactions, of one change or of two, up to a tid.
func (o old) fill(upTo int) {
	o.t.Helper()
	for tid := 1; tid <= upTo; tid++ {
		if tid%3 == 0 {
			o.take(tid, "ticket,wiki")
			o.change(tid, 1, "wiki", "Päge "+strconv.Itoa(tid))
		} else {
			o.take(tid, "ticket")
		}
		var of []string
		if tid == 1 {
			of = texts
		}
		o.change(tid, 0, "ticket", strconv.Itoa(tid), of...)
	}
}

// check looks at what a journal that was filled has become.
func (o old) check(st tables, upTo int) {
	t := o.t
	t.Helper()
	assert.Equal(t, o.uuid, st.UUID())
	var changes []store.Change
	for at := (store.Place{}); ; {
		b, err := st.Read(t.Context(), o.DB, at, 100, oldRealms)
		require.NoError(t, err)
		changes = append(changes, b.Changes...)
		if len(b.Places) > 0 {
			at = b.Places[len(b.Places)-1]
		}
		if !b.More {
			assert.Equal(t, store.Place{TID: int64(upTo), CommitID: o.mark(upTo)}, at)
			break
		}
	}
	require.Len(t, changes, upTo+upTo/3)
	i := 0
	for tid := 1; tid <= upTo; tid++ {
		for seq := 0; seq == 0 || seq == 1 && tid%3 == 0; seq++ {
			c := changes[i]
			i++
			e, err := entry.FromRow(c)
			if !assert.NoError(t, err, "%d.%d: %s", tid, seq, c.Document) {
				return
			}
			realm, id := "ticket", strconv.Itoa(tid)
			if seq == 1 {
				realm, id = "wiki", "Päge "+id
			}
			want := entry.Entry{
				Resource: entry.Resource{Realm: realm, ID: id}, Kind: "changed", TID: int64(tid), Seq: seq, CommitID: o.mark(tid),
				Time: time.UnixMicro(1_700_000_000_000_000 + int64(tid)).UTC(), Author: "joe", IPNR: "::1", Authenticated: true, Comment: `why "so"`,
				State: entry.Fields{"kept": "v", "n": json.Number("1.50")},
				Old:   entry.Fields{"gone": true, "null": nil},
				New:   entry.Fields{"new": json.Number("1.50"), "null": time.UnixMicro(1_700_000_000_123_456).UTC()},
			}
			if tid == 1 {
				for i, text := range texts {
					name := "f" + strconv.Itoa(i) + text[:min(3, len(text))]
					want.Old[name], want.New[name] = text, text+"."
				}
			}
			if !assert.Equal(t, want, e) {
				return
			}
			assert.Equal(t, "o", c.Origin)
		}
	}
	_, _, err := st.Append(t.Context(), o.DB, "next", "o", []store.Change{{Realm: "ticket", ID: "1", Kind: "changed", Document: document}}, false)
	require.NoError(t, err)
	end, err := st.End(t.Context(), o.DB)
	require.NoError(t, err)
	assert.Equal(t, store.Place{TID: int64(upTo + 1), CommitID: "next"}, end)
}

// TestUpgrade: a journal of version 1 or 2 is brought up when it is opened, also by several
// at once, and again; it keeps what it has, and where consumers are.
func TestUpgrade(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		config := store.Config{Dialect: s.Dialect, Realms: oldRealms}
		for version := 1; version <= 2; version++ {
			t.Run(fmt.Sprintf("of version %d", version), func(t *testing.T) {
				const transactions = 30
				dsn := s.DSN(s.Name())
				o := versionTwo(t, s.Open(t, dsn), s.Dialect, version)
				o.fill(transactions)
				if version == 2 {
					o.consume()
				}
				for range 2 { // the second finds all done
					var opened sync.WaitGroup
					for range 3 {
						other := s.Open(t, dsn)
						opened.Go(func() {
							_, err := store.Open(t.Context(), other, config)
							assert.NoError(t, err)
						})
					}
					opened.Wait()
				}
				st := o.opened(config)
				o.check(st, transactions)
				if version == 2 {
					o.checkConsumer(st)
				}
			})
		}
		t.Run("an empty database", func(t *testing.T) {
			dsn := s.DSN(s.Name())
			var opened sync.WaitGroup
			names := make([]string, 3)
			for i := range names {
				other := s.Open(t, dsn)
				opened.Go(func() {
					st, err := store.Open(t.Context(), other, config)
					if assert.NoError(t, err) {
						names[i] = st.UUID()
					}
				})
			}
			opened.Wait()
			assert.Equal(t, []string{names[0], names[0], names[0]}, names)
		})
	})
}

// opened opens the journal as one whose tables are there.
func (o old) opened(config store.Config) tables {
	o.t.Helper()
	config.Manual = true
	st, err := openTables(o.t.Context(), o.DB, config)
	require.NoError(o.t, err)
	assert.Equal(o.t, 3, one[int](o.t, o.DB, "SELECT schema_version FROM journal_facts"))
	return st
}

// consume stores a consumer in the midst of a transaction, and a dead letter of it.
func (o old) consume() {
	o.t.Helper()
	o.exec("INSERT INTO journal_once (name, tid, mark, seq, rest, epoch, beat, holder, taken, expires, branch, failing, error) VALUES ('c', 3, ?, 0, 1, 70, 8, '', 0, 0, 9, 0, 'e')", o.mark(3))
	o.exec("INSERT INTO journal_aside (name, tid, seq, mark, realm, id, error, tries, since, retry) VALUES ('c', 2, 0, ?, 'ticket', '2', 'x', 4, 5, 1)", o.mark(2))
}

func (o old) checkConsumer(st tables) {
	t := o.t
	t.Helper()
	c := find(t, st, "c")
	assert.Equal(t, within(3, o.mark(3), 0), c.Cursor)
	assert.Equal(t, []any{int64(70), int64(8), int64(9), "e", 1}, []any{c.Token, c.Heartbeat, c.Generation, c.Error, c.DeadLetters})
	dead, err := st.DeadLetters(t.Context(), "c", true, 0, -1, 10)
	require.NoError(t, err)
	assert.Equal(t, []progress.DeadLetter{{TID: 2, CommitID: o.mark(2), Realm: "ticket", ID: "2", Error: "x", Attempts: 4, Since: 5, Redeliver: true}}, dead)
	assert.Greater(t, takeOnce(t, st, "c", "me"), int64(70))
}

// TestUpgradeManual: who makes the tables himself is told what is missing, and finds it in
// the text.
func TestUpgradeManual(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		const transactions = 7
		o := versionTwo(t, s.New(t), s.Dialect, 2)
		o.fill(transactions)
		o.consume()
		config := store.Config{Dialect: s.Dialect, Realms: oldRealms, Manual: true}
		_, err := store.Open(t.Context(), o.DB, config)
		assert.ErrorIs(t, err, store.ErrSchema)
		assert.ErrorContains(t, err, "the tables are of version 2: expected version 3")
		_, err = o.Exec("SELECT * FROM journal_change")
		assert.Error(t, err, "the table was made")

		text, err := store.Text(s.Dialect, "", config.Realms, true)
		require.NoError(t, err)
		conn, err := o.Conn(t.Context()) // as a migration tool has one
		require.NoError(t, err)
		defer conn.Close()
		statements := strings.Split(strings.TrimSpace(text), "\n\n")
		for i, statement := range statements {
			_, err := store.Open(t.Context(), o.DB, config)
			assert.ErrorIs(t, err, store.ErrSchema, "before statement %d", i)
			_, err = conn.ExecContext(t.Context(), statement)
			require.NoError(t, err, statement)
		}
		st := o.opened(config)
		o.check(st, transactions)
		o.checkConsumer(st)
	})
}

// TestUpgradeRefused: tables of a later version, or of which some were taken
// away, are left as they are. To make a lost table of cursors anew would lose
// changes in silence.
func TestUpgradeRefused(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		config := store.Config{Dialect: s.Dialect, Realms: twoRealms}
		for statement, says := range map[string]string{
			"UPDATE journal_facts SET schema_version = 4": "of version 4, this library knows version 3",
			"UPDATE journal_facts SET schema_version = 0": "of version 0, this library knows version 3",
			"UPDATE journal_facts SET schema_version = 2": "journal_transaction is missing",
			"DROP TABLE journal_consumer":                 "journal_consumer is missing",
			"DROP TABLE journal_dead_letter":              "journal_dead_letter is missing",
		} {
			db := s.New(t)
			_, err := store.Open(t.Context(), db, config)
			require.NoError(t, err)
			_, err = db.Exec(statement)
			require.NoError(t, err)
			more := config
			more.Realms = append(more.Realms[:2:2], "milestone")
			_, err = store.Open(t.Context(), db, more)
			assert.ErrorIs(t, err, store.ErrSchema, statement)
			assert.ErrorContains(t, err, says)
			_, err = db.Exec("SELECT * FROM milestone_journal")
			assert.Error(t, err, "%s: a view was made", statement)
		}
		db := s.New(t)
		_, err := store.Open(t.Context(), db, config)
		require.NoError(t, err)
		_, err = db.Exec("DROP TABLE journal_facts")
		require.NoError(t, err)
		_, err = store.Open(t.Context(), db, config)
		assert.ErrorIs(t, err, store.ErrSchema)
		assert.ErrorContains(t, err, "journal_facts is missing, although ")
	})
}

// TestBegun: on MySQL, whose statements that make tables stand alone, who dies
// before the version is written is followed by one that goes on.
func TestBegun(t *testing.T) {
	s := testdatabase.New(t, "mysql")
	config := store.Config{Dialect: s.Dialect, Realms: twoRealms}
	db := s.New(t)
	_, err := store.Open(t.Context(), db, store.Config{Dialect: s.Dialect})
	require.NoError(t, err)
	_, err = db.Exec("DELETE FROM journal_facts")
	require.NoError(t, err)
	manual := config
	manual.Manual = true
	_, err = store.Open(t.Context(), db, manual)
	assert.ErrorIs(t, err, store.ErrSchema)
	_, err = store.Open(t.Context(), db, config)
	require.NoError(t, err)
	_, err = db.Exec("DELETE FROM journal_facts")
	require.NoError(t, err)
	_, err = store.Open(t.Context(), db, config)
	assert.ErrorIs(t, err, store.ErrSchema, "it was complete")
}
