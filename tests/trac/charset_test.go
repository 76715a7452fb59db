package trac_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
	"github.com/tracbus/tracbus/trac/realms"
)

// tracOfUTF8 opens a journal in a database of MySQL's whose tables of Trac have the character
// set utf8mb3, as those of old Tracs, or those that are named another one.
func tracOfUTF8(t *testing.T, s *testdatabase.Server, parameters string, others ...string) *ticketRig {
	name := s.Name()
	r := &ticketRig{t: t, dialect: tracbus.MySQL, db: s.Open(t, s.MariaDB.DSN(name)+parameters), times: map[int64]string{}}
	r.exec("ALTER DATABASE " + name + " CHARACTER SET utf8mb3 COLLATE utf8mb3_bin")
	for _, statement := range tracdatabase.Schema(r.dialect) {
		table := strings.Trim(strings.Fields(statement)[2], "`")
		for _, other := range others {
			if table == other {
				table = ""
			}
		}
		if table != "" {
			statement = strings.ReplaceAll(statement, "utf8mb4", "utf8mb3")
		}
		r.exec(statement)
	}
	r.open(append(testTicketRealm(), tracbus.Pages{}, realms.Milestones{}))
	return r
}

// TestCharactersThatMySQLCannotStore uses texts with a character that utf8mb3 does not have:
// nothing has such a name, and what cannot be stored is refused with the reason.
func TestCharactersThatMySQLCannotStore(t *testing.T) {
	if testing.Short() {
		t.Skip("it needs MariaDB")
	}
	s := testdatabase.New(t, "mysql")
	for name, parameters := range map[string]string{
		"values in the text of statements": testdatabase.MySQLParameters,
		"values apart":                     "?multiStatements=true",
	} {
		t.Run(name, func(t *testing.T) {
			r := tracOfUTF8(t, s, parameters)
			const smile = "Smile😀"
			r.save("joe", create(tracbus.Fields{"summary": "Ünïcode 日本"}))
			r.save("joe", trac.TicketEdit{ID: 1, Comment: "é"})
			r.save("joe", trac.PageEdit{Name: "Ünï", Text: new("日本")})
			r.save("joe", trac.MilestoneEdit{Name: "m1", New: true})
			r.save("joe", trac.TicketEdit{ID: 1, Set: tracbus.Fields{"milestone": "m1"}})
			before := append(r.rows(), r.pages()...)

			page, ok, err := trac.LoadPage(t.Context(), r.snapshot, smile)
			assert.NoError(t, err)
			assert.False(t, ok, page)
			for page, err := range trac.LoadPageVersions(t.Context(), r.snapshot, smile) {
				assert.Fail(t, "there is a page", "%v %v", page, err)
			}
			for what, m := range map[string]tracbus.Model{
				"edit without text": trac.PageEdit{Name: smile, Readonly: new(true)},
				"delete":            deleted{trac.PageEdit{Name: smile}},
				"rename":            trac.PageRename{Name: smile, NewName: "Smile"},
				"version":           deleted{trac.PageVersionDelete{Name: smile, Version: 1}},
				"comment":           trac.PageCommentEdit{Name: smile, Comment: "x"},
				"milestone":         trac.MilestoneEdit{Name: smile, Description: new("x")},
				"no milestone":      deleted{trac.MilestoneEdit{Name: smile}},
				"retarget":          trac.MilestoneEdit{Name: "m1", Completed: new(time.Unix(1, 0)), Retarget: new(smile)},
			} {
				assert.ErrorIs(t, r.refuses("joe", m), tracbus.ErrNotFound, what)
			}
			const reason = " has the character U+1F600, which the table's character set cannot store; expected utf8mb4"
			for what, m := range map[string]tracbus.Model{
				"create": trac.PageEdit{Name: smile, Text: new("x")},
				"rename": trac.PageRename{Name: "Ünï", NewName: smile},
			} {
				err := r.refuses("joe", m)
				assert.ErrorIs(t, err, tracbus.ErrInvalidPageName, what)
				assert.ErrorContains(t, err, `text "Smile😀"`+reason, what)
				assert.NotErrorIs(t, err, tracbus.ErrConflict, what)
			}
			for what, m := range map[string]tracbus.Model{
				"milestone":           trac.MilestoneEdit{Name: smile, New: true},
				"renamed milestone":   trac.MilestoneEdit{Name: "m1", NewName: smile},
				"text of a page":      trac.PageEdit{Name: "P", Text: new(smile)},
				"new text":            trac.PageEdit{Name: "Ünï", Text: new(smile)},
				"comment on a page":   trac.PageEdit{Name: "P", Text: new("x"), Comment: smile},
				"edited comment":      trac.PageCommentEdit{Name: "Ünï", Comment: smile},
				"field":               create(tracbus.Fields{"summary": smile}),
				"custom field":        create(tracbus.Fields{"note": smile}),
				"changed field":       trac.TicketEdit{ID: 1, Set: tracbus.Fields{"keywords": smile}},
				"new custom field":    trac.TicketEdit{ID: 1, Set: tracbus.Fields{"note": smile}},
				"comment on a ticket": trac.TicketEdit{ID: 1, Comment: smile},
				"another comment":     trac.CommentEdit{ID: 1, CommentNumber: 1, Comment: smile},
			} {
				err := r.refuses("joe", m)
				assert.ErrorContains(t, err, `text "Smile😀"`+reason, what)
				assert.NotErrorIs(t, err, tracbus.ErrInvalidPageName, what)
			}
			for what, m := range map[string]tracbus.Model{
				"author of a page":    trac.PageEdit{Name: "P", Text: new("x")},
				"reporter":            create(tracbus.Fields{"summary": "x"}),
				"author of a change":  trac.TicketEdit{ID: 1, Comment: "x"},
				"author of an edit":   trac.CommentEdit{ID: 1, CommentNumber: 1, Comment: "x"},
				"author of a version": trac.PageEdit{Name: "Ünï", Text: new("x")},
			} {
				assert.ErrorContains(t, r.refuses(smile, m), `text "Smile😀"`+reason, what)
			}
			assert.Equal(t, before, append(r.rows(), r.pages()...))
			r.save(smile, deleted{trac.PageEdit{Name: "Ünï"}}) // Trac's tables do not keep by whom, the journal does
			assert.Empty(t, r.pages())
		})
	}
	t.Run("a page that only the table attachment could not have", func(t *testing.T) {
		r := tracOfUTF8(t, s, testdatabase.MySQLParameters, "wiki")
		r.save("joe", trac.PageEdit{Name: "😀", Text: new("x")})
		r.exec("INSERT INTO attachment (type, id, filename) VALUES ('wiki', 'P', 'a')")
		r.save("joe", trac.PageRename{Name: "😀", NewName: "😀😀"})
		r.save("joe", deleted{trac.PageEdit{Name: "😀😀"}})
		assert.Empty(t, r.pages())
		r.save("joe", trac.PageEdit{Name: "P", Text: new("x")})
		assert.ErrorIs(t, r.refuses("joe", trac.PageRename{Name: "P", NewName: "😀"}), tracbus.ErrInvalidPageName)
		assert.Equal(t, [][]string{{"P", "a"}}, r.read("SELECT id, filename FROM attachment"))
	})
}

// TestPagesWithOneKey: MySQL's key of a page has the first characters of the name only, and
// another page that begins with them can never be made.
func TestPagesWithOneKey(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		r := newTicketRig(t, s, append(testTicketRealm(), tracbus.Pages{}))
		begin := strings.Repeat("é", 190)
		first, second, short := begin+"xa", begin+"xb", begin+"y"
		r.save("joe", trac.PageEdit{Name: first, Text: new("x")})
		r.save("joe", trac.PageEdit{Name: short, Text: new("x")})
		r.save("joe", trac.PageEdit{Name: "P", Text: new("x")})
		for what, m := range map[string]tracbus.Model{
			"create": trac.PageEdit{Name: second, Text: new("x")},
			"rename": trac.PageRename{Name: "P", NewName: second},
		} {
			if r.dialect != tracbus.MySQL {
				r.save("joe", m)
				r.save("joe", deleted{trac.PageEdit{Name: second}})
				r.save("joe", trac.PageEdit{Name: "P", Text: new("x, again")})
				continue
			}
			err := r.refuses("joe", m)
			assert.ErrorIs(t, err, tracbus.ErrInvalidPageName, what)
			assert.NotErrorIs(t, err, tracbus.ErrConflict, what)
			assert.ErrorContains(t, err, "the table's key has its first 191 characters only, which are those of the page \""+first+`" too`, what)
		}
		if r.dialect == tracbus.PostgreSQL { // its key of a page has a limit
			long := ""
			for i := range 100 {
				long += fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i)}))
			}
			assert.ErrorIs(t, r.refuses("joe", trac.PageEdit{Name: long, Text: new("x")}), tracbus.ErrInvalidPageName)
			assert.ErrorIs(t, r.refuses("joe", trac.PageRename{Name: "P", NewName: long}), tracbus.ErrInvalidPageName)
		}
		r.save("joe", trac.PageEdit{Name: first, Text: new("y")})
		r.save("joe", trac.PageRename{Name: first, NewName: second})
		page, ok, err := trac.LoadPage(t.Context(), r.snapshot, second)
		require.NoError(t, err)
		assert.True(t, ok)
		assert.EqualValues(t, 2, page.Version)
		_, ok, err = trac.LoadPage(t.Context(), r.snapshot, first)
		assert.NoError(t, err)
		assert.False(t, ok)
	})
}

// pages returns what is in wiki.
func (r *ticketRig) pages() (lines []string) {
	for _, row := range r.read("SELECT name, version, author, text, comment FROM wiki ORDER BY name, version") {
		lines = append(lines, strings.Join(row, " "))
	}
	return lines
}

// refuses has a transaction fail, and returns the error.
func (r *ticketRig) refuses(author string, m tracbus.Model) error {
	r.t.Helper()
	err := r.update(author, func(ctx context.Context, tx *tracbus.ModelTransaction) error {
		if d, ok := m.(deleted); ok {
			return tx.Delete(ctx, d.Model)
		}
		return tx.Save(ctx, m)
	})
	require.Error(r.t, err)
	require.True(r.t, errors.Is(err, tracbus.ErrNotCommitted), err)
	return err
}
