package foreign_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// story reads what everybody has to say.
func (r *rig) story() (s story) {
	t := r.t
	t.Helper()
	s.serial = r.dialect == tracbus.SQLite
	var said string
	testkit.Scan(t, r.db, "SELECT said FROM foreign_write", func() {
		var w write
		if err := json.Unmarshal([]byte(said), &w); err != nil {
			t.Fatal(err)
		}
		s.writes = append(s.writes, w)
	}, &said)
	for _, c := range r.all {
		s.runs = append(s.runs, readLog(t, c, r.path(c.Name, ".log")))
	}
	for e, err := range r.journal.Since(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		s.told = append(s.told, toldOf(e))
	}
	entries, err := r.redis.XRange(t.Context(), streamKey, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		s.stream = append(s.stream, placeOf(t, e.ID))
	}
	s.states, s.pages, s.history = map[string]map[string]string{}, map[string]map[int64]string{}, map[[2]string]string{}
	for _, w := range s.writes {
		if id, ok := strings.CutPrefix(w.Resource, "ticket "); ok {
			if s.states[w.Resource], err = dialect(r.dialect).state(t.Context(), r.db, id, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	var name, text string
	var number int64
	testkit.Scan(t, r.db, "SELECT name, version, text FROM wiki WHERE name LIKE 'Campaign%'", func() {
		if s.pages[page(name)] == nil {
			s.pages[page(name)] = map[int64]string{}
		}
		s.pages[page(name)][number] = text
	}, &name, &number, &text)
	testkit.Scan(t, r.db, "SELECT ticket, coalesce(oldvalue, ''), newvalue FROM ticket_change WHERE field = 'keywords' AND newvalue IS NOT NULL", func() {
		s.history[[2]string{ticket(number), text}] = name
	}, &number, &name, &text)
	return s
}

// placeOf returns the place that an entry of the stream has.
func placeOf(t testing.TB, id string) record.Place {
	first, second, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(first, 10, 64)
	seq, err2 := strconv.Atoi(second)
	if err != nil || err2 != nil {
		t.Fatalf("an entry of the stream has the id %q", id)
	}
	return record.Place{TID: int64(n & (1<<48 - 1)), Seq: seq} // above are the journal's branches
}

func readLog(t testing.TB, c *record.Child, path string) runLog {
	t.Helper()
	r := runLog{name: c.Name, killed: c.Killed, trac: strings.HasPrefix(c.Name, "trac")}
	b, err := os.ReadFile(path)
	if err != nil && !(os.IsNotExist(err) && c.Killed) {
		t.Fatal(err)
	}
	for len(b) > 0 {
		one, rest, whole := bytes.Cut(b, []byte{'\n'})
		if b = rest; !whole && c.Killed {
			break
		}
		var l line
		if err := json.Unmarshal(one, &l); err != nil {
			t.Fatalf("log of %s: %v: %.200q", c.Name, err, one)
		}
		r.lines = append(r.lines, l)
	}
	return r
}

// toldOf returns what the checker looks at of an event.
func toldOf(event tracbus.Event) told {
	c := event.About()
	t := told{
		Place: record.Place{TID: c.TID, Seq: c.Seq}, Resource: event.Resource().String(), Kind: string(event.Kind()), Author: c.Author, Comment: c.Comment,
		Time: c.Time.UnixMicro(), Unknown: c.Absent.Has(tracbus.AttrActor), Foreign: c.Absent.Has(tracbus.AttrAddress),
	}
	of := func(p tracbus.WikiPage) { t.Version, t.Text = p.Version, p.Text }
	switch e := event.(type) {
	case tracbus.TicketCreated:
		t.Values = texts(e.Values)
	case tracbus.TicketChanged:
		t.Values, t.New, t.Old = texts(e.Values), texts(e.New), texts(e.Old)
	case tracbus.TicketDeleted:
		t.Values = texts(e.Values)
	case tracbus.TicketCommentEdited:
		t.OldComment, t.Made = e.OldComment, e.CommentTime.UnixMicro()
	case tracbus.TicketChangeDeleted:
		t.Made, t.New, t.Old = e.ChangeTime.UnixMicro(), texts(e.New), texts(e.Old)
	case tracbus.WikiPageCreated:
		of(e.Page)
	case tracbus.WikiPageChanged:
		of(e.Page)
		t.OldText = e.OldText
	case tracbus.WikiPageDeleted:
		of(e.Page)
	case tracbus.WikiPageVersionDeleted:
		of(e.Page)
	case tracbus.WikiPageRenamed:
		of(e.Page)
		t.OldName = e.OldName
	}
	return t
}

func texts(f tracbus.Fields) map[string]string {
	all := map[string]string{}
	for name := range f {
		all[name] = f.Text(name)
	}
	return all
}
