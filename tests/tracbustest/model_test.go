package tracbustest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
	"github.com/tracbus/tracbus/tracbustest"
)

// with opens a new database with tables.
func with(t *testing.T, s *testdatabase.Server, statements []string) *sql.DB {
	t.Helper()
	db := s.New(t)
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return db
}

// reading reads a column of the row that a resource is.
func reading(s *testdatabase.Server, query string) func(context.Context, tracbus.SQL, tracbus.Resource) (string, error) {
	return func(ctx context.Context, q tracbus.SQL, r tracbus.Resource) (text string, err error) {
		err = q.QueryRowContext(ctx, desk.Marks(tracbus.Dialect(s.Dialect), query), r.ID).Scan(&text)
		return text, err
	}
}

// The models of package trac keep the contract, on every database.
func TestModelsOfTrac(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		d := tracbus.Dialect(s.Dialect)
		t.Run("TicketEdit", func(t *testing.T) {
			ticket := func(seen tracbus.Event) (id int64) {
				_, err := fmt.Sscan(seen.Resource().ID, &id)
				require.NoError(t, err)
				return id
			}
			tracbustest.Model(t, with(t, s, tracdatabase.Schema(d)), tracbustest.ModelConfig{
				Journal: tracbus.JournalConfig{Dialect: d},
				Create: func(n int) tracbus.Model {
					return trac.TicketCreate{Set: tracbus.Fields{"summary": fmt.Sprint("ticket ", n)}}
				},
				Edit: func(seen tracbus.Event, text string) tracbus.Model {
					edit := trac.TicketEdit{ID: ticket(seen), Set: tracbus.Fields{"summary": text}}
					switch e := seen.(type) {
					case tracbus.TicketCreated:
						edit.Base, _ = e.Values.Time("changetime")
					case tracbus.TicketChanged:
						edit.Base, _ = e.Values.Time("changetime")
					}
					return edit
				},
				Field: "summary", Conflicts: true,
				Delete: func(seen tracbus.Event) tracbus.Model { return trac.TicketEdit{ID: ticket(seen)} },
				Read:   reading(s, "SELECT summary FROM ticket WHERE id = ?"),
				Tables: []string{"ticket", "ticket_change", "ticket_custom"},
			})
		})
		t.Run("PageEdit", func(t *testing.T) {
			tracbustest.Model(t, with(t, s, tracdatabase.Schema(d)), tracbustest.ModelConfig{
				Journal: tracbus.JournalConfig{Dialect: d},
				Create: func(n int) tracbus.Model {
					text := "new"
					return trac.PageEdit{Name: fmt.Sprint("Page", n), Text: &text, Base: trac.NoPage}
				},
				Edit: func(seen tracbus.Event, text string) tracbus.Model {
					edit := trac.PageEdit{Name: seen.Resource().ID, Text: &text}
					switch e := seen.(type) {
					case tracbus.WikiPageCreated:
						edit.Base = e.Page.Version
					case tracbus.WikiPageChanged:
						edit.Base = e.Page.Version
					}
					return edit
				},
				Field: "text", Conflicts: true,
				Delete: func(seen tracbus.Event) tracbus.Model { return trac.PageEdit{Name: seen.Resource().ID} },
				Read:   reading(s, "SELECT text FROM wiki WHERE name = ? ORDER BY version DESC LIMIT 1"),
				Tables: []string{"wiki"},
			})
		})
	})
}

// memos is how the memos of a database are checked.
func memos(s *testdatabase.Server, f *faults) tracbustest.ModelConfig {
	version := func(seen tracbus.Event) (n int64) {
		switch e := seen.(type) {
		case tracbus.TicketCreated:
			_, _ = fmt.Sscan(fmt.Sprint(e.Values["version"]), &n)
		case tracbus.TicketChanged:
			_, _ = fmt.Sscan(fmt.Sprint(e.Values["version"]), &n)
		}
		return n
	}
	of := func(seen tracbus.Event) (id int64) {
		_, _ = fmt.Sscan(seen.Resource().ID, &id)
		return id
	}
	return tracbustest.ModelConfig{
		Journal: tracbus.JournalConfig{Dialect: tracbus.Dialect(s.Dialect)},
		Create:  func(n int) tracbus.Model { return memo{text: fmt.Sprint("memo ", n), faults: f} },
		Edit: func(seen tracbus.Event, text string) tracbus.Model {
			return memo{id: of(seen), text: text, version: version(seen), faults: f}
		},
		Field: "text", Conflicts: true,
		Delete: func(seen tracbus.Event) tracbus.Model { return memo{id: of(seen), faults: f} },
		Read:   reading(s, "SELECT text FROM memo WHERE id = ?"),
		Tables: []string{"memo", "last"},
	}
}

// A model of an application's own passes on every database.
func TestModelOfAnApplication(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		tracbustest.Model(t, with(t, s, memoTables), memos(s, &faults{careful: true}))
	})
}

// Each spoiling of the model is found by the case that is about it.
func TestModelSeesFaults(t *testing.T) {
	for _, dialect := range []string{"sqlite", "postgresql"} {
		if testing.Short() && dialect != "sqlite" {
			continue
		}
		s := testdatabase.New(t, dialect)
		for name, c := range map[string]struct {
			only  string // a dialect
			spoil func(db *sql.DB, f *faults)
			want  string
		}{
			"it says that it created nothing": {"", func(_ *sql.DB, f *faults) {
				f.created = func(tracbus.TicketCreated) tracbus.Event { return nil }
			}, "what is created is told"},
			"it calls what is created changed": {"", func(_ *sql.DB, f *faults) {
				f.created = func(e tracbus.TicketCreated) tracbus.Event { return tracbus.TicketChanged{ID: e.ID, Values: e.Values} }
			}, "what is created is told"},
			"the old value is the new one": {"", func(_ *sql.DB, f *faults) {
				f.event = func(e tracbus.TicketChanged) tracbus.Event {
					e.Old = tracbus.Fields{"text": "something else"}
					return e
				}
			}, "old values are true"},
			"the new value is another": {"", func(_ *sql.DB, f *faults) {
				f.event = func(e tracbus.TicketChanged) tracbus.Event {
					e.New = tracbus.Fields{"text": e.New.Text("text") + "!"}
					e.Values = tracbus.Fields{"text": e.New["text"], "version": e.Values["version"]}
					return e
				}
			}, "and the tables have"},
			"it reads outside of the transaction": {"postgresql", func(db *sql.DB, f *faults) {
				f.careful = false
				f.read = func(ctx context.Context, tx *tracbus.ModelTransaction, id int64) (version int64, text string, err error) {
					err = db.QueryRowContext(ctx, "SELECT version, text FROM memo WHERE id = $1", id).Scan(&version, &text)
					return version, text, err
				}
			}, "what is undone is not told"},
			"it remembers what it read": {"", func(_ *sql.DB, f *faults) {
				var mu sync.Mutex
				known := map[int64]string{}
				f.careful = false
				f.read = func(ctx context.Context, tx *tracbus.ModelTransaction, id int64) (int64, string, error) {
					version, text, err := stored(ctx, tx, id)
					mu.Lock()
					defer mu.Unlock()
					if was, ok := known[id]; ok && version%3 == 0 {
						text = was
					}
					known[id] = text
					return version, text, err
				}
			}, "old values are true"},
			"it writes what is the same": {"", func(_ *sql.DB, f *faults) {
				f.same = func(ctx context.Context, tx *tracbus.ModelTransaction, m memo) (tracbus.Event, error) {
					return nil, exec(ctx, tx, "UPDATE last SET memo = memo + 1 WHERE one = 1")
				}
			}, "nothing different, nothing written"},
			"it tells what is the same": {"", func(_ *sql.DB, f *faults) {
				f.same = func(_ context.Context, _ *tracbus.ModelTransaction, m memo) (tracbus.Event, error) {
					return tracbus.TicketChanged{ID: m.id, Values: m.values(), Old: tracbus.Fields{"text": "another"}}, nil
				}
			}, "nothing different, nothing written"},
			"it tells each change with a remark": {"", func(_ *sql.DB, f *faults) {
				f.event = func(e tracbus.TicketChanged) tracbus.Event {
					delete(e.Old, "text")
					e.Comment = "changed"
					return e
				}
			}, "what is undone is not told"},
			"it does not compare versions": {"", func(_ *sql.DB, f *faults) { f.careful = false }, "a conflict is found"},
			"it writes beside the transaction": {"postgresql", func(db *sql.DB, f *faults) {
				f.write = func(ctx context.Context, tx *tracbus.ModelTransaction, m memo) error {
					_, err := db.ExecContext(ctx, "UPDATE last SET memo = memo + 1 WHERE one = 1")
					return errors.Join(err, exec(ctx, tx, "UPDATE memo SET version = ?, text = ? WHERE id = ?", m.version, m.text, m.id))
				}
			}, "what fails leaves nothing"},
			"a text becomes a part of the statement": {"", func(_ *sql.DB, f *faults) {
				f.write = func(ctx context.Context, tx *tracbus.ModelTransaction, m memo) error {
					return exec(ctx, tx, fmt.Sprintf("UPDATE memo SET version = %d, text = '%s' WHERE id = %d", m.version, m.text, m.id))
				}
			}, "any text is stored as it is"},
			"it panics": {"", func(_ *sql.DB, f *faults) {
				f.write = func(context.Context, *tracbus.ModelTransaction, memo) error { panic("oh") }
			}, "panic: oh"},
			"it locks the table": {"postgresql", func(_ *sql.DB, f *faults) {
				f.write = func(ctx context.Context, tx *tracbus.ModelTransaction, m memo) error {
					return exec(ctx, tx, "LOCK TABLE memo; UPDATE memo SET version = "+fmt.Sprint(m.version)+" WHERE id = "+fmt.Sprint(m.id))
				}
			}, "others do not wait"},
			"it locks rows of others": {"postgresql", func(_ *sql.DB, f *faults) {
				f.write = func(ctx context.Context, tx *tracbus.ModelTransaction, m memo) error {
					return errors.Join(exec(ctx, tx, "UPDATE memo SET version = ?, text = ? WHERE id = ?", m.version, m.text, m.id),
						exec(ctx, tx, "UPDATE last SET memo = ? WHERE one = 1", m.id))
				}
			}, "others do not wait"},
			"what is deleted is told with another state": {"", func(_ *sql.DB, f *faults) {
				f.deleted = func(e tracbus.TicketDeleted) tracbus.Event { return tracbus.TicketDeleted{ID: e.ID} }
			}, "what is deleted is told"},
			"what is deleted is changed": {"", func(_ *sql.DB, f *faults) { f.gone = errors.New("some error") }, "some error"},
		} {
			if c.only != "" && c.only != dialect {
				continue
			}
			t.Run(dialect+"/"+name, func(t *testing.T) {
				testkit.NoLeaks(t)
				db := with(t, s, memoTables)
				broken := &faults{careful: true}
				c.spoil(db, broken)
				f := testkit.ExpectFailures(t)
				tracbustest.Model(f, db, memos(s, broken))
				f.Want(c.want, "contract: ", "why: ", "seen: ")
			})
		}
	}
	assert.Panics(t, func() { tracbustest.Model(t, nil, tracbustest.ModelConfig{}) })
}
