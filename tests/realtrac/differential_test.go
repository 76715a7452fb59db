package realtrac_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/realtrac"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
)

// fields are custom fields of every type, and no defaults of Trac's own.
const fields = `
[ticket]
default_type =
default_priority =
default_component =
default_severity =
default_milestone =
default_version =
default_owner =
default_cc =
default_keywords =
default_summary =
default_description =
default_resolution =

[ticket-custom]
f_text = text
f_textd = text
f_textd.value = dflt
f_sel = select
f_sel.options = a|b|c
f_sel.value = b
f_selidx = select
f_selidx.options = x|y|z
f_selidx.value = 1
f_chk = checkbox
f_chk1 = checkbox
f_chk1.value = true
f_area = textarea
f_radio = radio
f_radio.options = r1|r2
f_time = time
f_timed = time
f_timed.value = 2020-01-02
f_timed.format = date

[components]
__main__.* = enabled
`

// TestDifferential has Trac's own models and tracbus do the same, and compares rows, cache
// generations and what listeners are told. docs/trac.md lists what differs on purpose.
//
// TRACBUS_TRAC_SEEDS says which sequences are made: "500-600", on each database, or a file with
// one. A difference is reported with the shortest sequence that shows it.
func TestDifferential(t *testing.T) {
	real := realtrac.Find(t)
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		theirs, ours := real.NewEnvironment(s, fields), real.NewEnvironment(s, fields)
		for _, e := range []*realtrac.Environment{theirs, ours} {
			e.Admin("severity", "add", "bad") // else Trac leaves the field out
		}
		r := &side{t: t}
		r.open(ours)
		command := real.Command(append([]string{filepath.Join("testdata", "differential.py"), theirs.Path, ours.Path}, sequences(t)...)...)
		said := &bytes.Buffer{}
		command.Stderr = said
		in, err := command.StdinPipe()
		require.NoError(t, err)
		out, err := command.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, command.Start())
		r.serve(bufio.NewReader(out), in)
		assert.NoError(t, in.Close())
		assert.NoError(t, command.Wait(), said)
		require.NotNil(t, r.done, "it ended early: %s", said)
		t.Logf("%v sequences, %v operations, %v differ; known differences: %v", r.done["sequences"], r.done["operations"], r.done["different"], r.done["known"])
		assert.EqualValues(t, 0, r.done["different"])
	})
}

// sequences returns the first seed and the one after the last, or a file with a sequence.
func sequences(t *testing.T) []string {
	t.Helper()
	said := cmp.Or(os.Getenv("TRACBUS_TRAC_SEEDS"), "0-20")
	first, last, found := strings.Cut(said, "-")
	_, err1 := strconv.Atoi(first)
	_, err2 := strconv.Atoi(last)
	if !found || err1 != nil || err2 != nil {
		return []string{said}
	}
	return []string{first, last}
}

// side is tracbus's side of the comparison.
type side struct {
	t       *testing.T
	journal *tracbus.Journal
	done    map[string]any
}

func (r *side) open(e *realtrac.Environment) {
	config, err := tracbus.LoadConfig(e.Path)
	require.NoError(r.t, err)
	bus := tracbus.NewBus("test")
	r.journal, err = tracbus.OpenJournal(r.t.Context(), e.Open(r.t), bus, tracbus.JournalConfig{
		Dialect: tracbus.Dialect(e.Dialect),
		Realms:  []tracbus.JournalRealm{trac.Tickets{CustomFields: config.CustomFields}, tracbus.Pages{}},
	})
	require.NoError(r.t, err)
	r.t.Cleanup(func() {
		require.NoError(r.t, errors.Join(r.journal.Close(context.Background()), bus.Close(context.Background())))
	})
}

// serve executes operations until there are no more.
func (r *side) serve(from *bufio.Reader, to io.Writer) {
	r.t.Helper()
	answers := json.NewEncoder(to)
	for {
		line, err := from.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		require.NoError(r.t, err)
		var message struct {
			Op         *operation
			Difference json.RawMessage
			Done       map[string]any
		}
		require.NoError(r.t, json.Unmarshal(line, &message), string(line))
		switch {
		case message.Op != nil:
			require.NoError(r.t, answers.Encode(r.do(*message.Op)))
		case message.Difference != nil:
			r.t.Errorf("%.6000s", message.Difference)
		default:
			r.done = message.Done
		}
	}
}

// operation is one that both sides make.
type operation struct {
	Op, Author, Comment, Name, To string
	ID, Version                   int64
	N, Reply                      int
	At                            *int64
	Set                           map[string]any
	Text, Redirect                *string
	Readonly                      *bool
}

// answer says what came of an operation.
type answer struct {
	Outcome string         `json:"outcome"`
	Error   string         `json:"error,omitempty"`
	Time    int64          `json:"time"` // of the transaction
	When    int64          `json:"when"` // of the change
	Event   map[string]any `json:"event"`
}

func (r *side) do(o operation) (a answer) {
	r.t.Helper()
	var event tracbus.Event
	before := time.Now().UnixMicro()
	tid, err := r.journal.Update(r.t.Context(), tracbus.Actor{Author: o.Author}, func(tx *tracbus.ModelTransaction) error {
		a.Time = tx.Time().UnixMicro()
		resource, err := o.apply(r.t.Context(), tx)
		if err != nil {
			return err
		}
		if entry, ok := tx.Pending(resource); ok {
			event, err = tx.Realm(resource.Realm).Event(entry)
		}
		return err
	})
	require.LessOrEqual(r.t, before, a.Time)
	require.LessOrEqual(r.t, a.Time, time.Now().UnixMicro())
	a.When = a.Time
	switch {
	case err == nil && tid == 0:
		a.Outcome = "nothing"
	case err == nil:
		a.Outcome, a.Event = "ok", eventOf(event)
		a.When = event.About().Time.UnixMicro()
	case errors.Is(err, tracbus.ErrNotFound):
		a.Outcome = "notfound"
	case errors.Is(err, tracbus.ErrInvalidPageName):
		a.Outcome = "invalid"
	case errors.Is(err, trac.ErrPageExists):
		a.Outcome = "exists"
	case errors.Is(err, trac.ErrAmbiguousComment):
		a.Outcome = "ambiguous"
	default:
		a.Outcome, a.Error = "error", err.Error()
	}
	return a
}

func (o operation) apply(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Resource, error) {
	var at time.Time
	if o.At != nil {
		at = time.UnixMicro(*o.At)
	}
	switch o.Op {
	case "create":
		var id int64
		err := tx.Save(ctx, trac.TicketCreate{Set: fieldsOf(o.Set), AssignedID: &id})
		return tracbus.TicketResource(id), err
	case "change":
		return tracbus.TicketResource(o.ID), tx.Save(ctx, trac.TicketEdit{ID: o.ID, Set: fieldsOf(o.Set), Comment: o.Comment, ReplyTo: o.Reply})
	case "editcomment":
		return tracbus.TicketResource(o.ID), tx.Save(ctx, trac.CommentEdit{ID: o.ID, CommentNumber: o.N, ChangeTime: at, Comment: o.Comment})
	case "delchange":
		return tracbus.TicketResource(o.ID), tx.Delete(ctx, trac.ChangeDelete{ID: o.ID, CommentNumber: o.N, ChangeTime: at})
	case "delticket":
		return tracbus.TicketResource(o.ID), tx.Delete(ctx, trac.TicketEdit{ID: o.ID})
	case "wiki":
		return tracbus.PageResource(o.Name), tx.Save(ctx, trac.PageEdit{Name: o.Name, Text: o.Text, Readonly: o.Readonly, Comment: o.Comment})
	case "rename":
		err := tx.Save(ctx, trac.PageRename{Name: o.Name, NewName: o.To, Comment: o.Comment})
		if err == nil && o.Redirect != nil {
			err = tx.Save(ctx, trac.PageEdit{Name: o.Name, Text: o.Redirect, Comment: o.Comment})
		}
		return tracbus.PageResource(o.To), err
	case "delver":
		return tracbus.PageResource(o.Name), tx.Delete(ctx, trac.PageVersionDelete{Name: o.Name, Version: o.Version})
	case "delpage":
		return tracbus.PageResource(o.Name), tx.Delete(ctx, trac.PageEdit{Name: o.Name})
	case "wikicomment":
		return tracbus.PageResource(o.Name), tx.Save(ctx, trac.PageCommentEdit{Name: o.Name, Version: o.Version, Comment: o.Comment})
	}
	return tracbus.Resource{}, fmt.Errorf("operation %q", o.Op)
}

// fieldsOf reads fields whose times are {"$t": microseconds}.
func fieldsOf(set map[string]any) tracbus.Fields {
	f := tracbus.Fields{}
	for name, v := range set {
		if m, ok := v.(map[string]any); ok {
			v = time.UnixMicro(int64(m["$t"].(float64))).UTC()
		}
		f[name] = v
	}
	return f
}

func plain(f tracbus.Fields) map[string]any {
	m := make(map[string]any, len(f))
	for name, v := range f {
		if t, ok := v.(time.Time); ok {
			v = map[string]any{"$t": t.UnixMicro()}
		}
		m[name] = v
	}
	return m
}

// eventOf returns an event by the names that differential.py has for its parts.
func eventOf(event tracbus.Event) map[string]any {
	m := map[string]any{"kind": event.Kind(), "author": event.About().Author}
	page := func(p tracbus.WikiPage) {
		m["name"], m["version"], m["text"], m["author"], m["comment"] = p.Name, p.Version, p.Text, p.Author, p.Comment
	}
	switch e := event.(type) {
	case tracbus.TicketCreated:
		m["values"] = plain(e.Values)
	case tracbus.TicketChanged:
		m["values"], m["new"], m["old"], m["comment"] = plain(e.Values), plain(e.New), plain(e.Old), e.Comment
	case tracbus.TicketDeleted:
		m["values"] = plain(e.Values)
	case tracbus.TicketChangeDeleted:
		m["new"], m["old"], m["at"] = plain(e.New), plain(e.Old), e.ChangeTime.UnixMicro()
	case tracbus.TicketCommentEdited:
		m["comment"], m["oldcomment"], m["at"] = e.Comment, e.OldComment, e.CommentTime.UnixMicro()
	case tracbus.WikiPageCreated:
		page(e.Page)
	case tracbus.WikiPageChanged:
		page(e.Page)
	case tracbus.WikiPageDeleted:
		page(e.Page)
	case tracbus.WikiPageVersionDeleted:
		page(e.Page)
	case tracbus.WikiPageRenamed:
		page(e.Page)
		m["oldname"] = e.OldName
	case tracbus.WikiPageCommentEdited:
		page(e.Page)
		m["oldcomment"] = e.OldComment
	}
	return m
}

// TestKnownDifferencesAreDocumented compares the differences that TestDifferential lets pass
// with the table in docs/trac.md, without a Trac.
func TestKnownDifferencesAreDocumented(t *testing.T) {
	program, err := os.ReadFile(filepath.Join("testdata", "differential.py"))
	require.NoError(t, err)
	_, list, found := strings.Cut(string(program), "KNOWN = {name: 0 for name in (")
	require.True(t, found)
	list, _, _ = strings.Cut(list, ")")
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`'([^']+)'`).FindAllStringSubmatch(list, -1) {
		known[m[1]] = true
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "trac.md"))
	require.NoError(t, err)
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ").FindAllStringSubmatch(string(page), -1) {
		documented[m[1]] = true
	}
	assert.Equal(t, slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(documented)))
}
