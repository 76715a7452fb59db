package trac_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/realtrac"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
	"github.com/tracbus/tracbus/trac/realms"
)

// namedOp is what is done to a milestone, component or version, by Trac and by this
// library.
type namedOp struct {
	Do       string         `json:"do"` // create, update or delete
	Realm    string         `json:"realm"`
	Name     string         `json:"name"`
	Set      map[string]any `json:"set"` // with the name, if it is new
	Retarget *string        `json:"retarget,omitempty"`
	Comment  string         `json:"comment"`
}

// randomNamedOps returns things to do, of which many fail: names are few.
func randomNamedOps(r *rand.Rand, n int) (ops []namedOp) {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	name := func() string { return pick("a", "b", "c", "a", "b", "c", "a  b", " b", "é", "") }
	for range n {
		op := namedOp{Do: pick("create", "update", "update", "delete"), Realm: pick("milestone", "milestone", "component", "version"), Set: map[string]any{}}
		op.Name = name()
		for op.Do != "create" && op.Name == "" {
			op.Name = name() // Trac's models take it for a new one
		}
		maybe := func(field string, v any) {
			if r.IntN(2) == 0 {
				op.Set[field] = v
			}
		}
		times := func() int64 { return []int64{0, 1623046150123456, 1600000000000000}[r.IntN(3)] }
		switch op.Realm {
		case "milestone":
			maybe("due", times())
			maybe("completed", times())
			if op.Do != "create" && r.IntN(2) == 0 {
				op.Retarget = new(pick("", "a", "b", "c"))
				op.Comment = pick("", "Why")
			}
		case "component":
			maybe("owner", pick("", "ann", " ann  b "))
		case "version":
			maybe("time", times())
		}
		maybe("description", pick("", "d", " e\r\n"))
		if op.Do == "create" {
			op.Set["name"] = op.Name
		} else if op.Do == "update" && op.Retarget == nil && r.IntN(2) == 0 {
			op.Set["name"] = name()
		}
		if op.Retarget != nil && *op.Retarget == op.Name {
			op.Retarget = nil // an error to this library, nothing to Trac
		}
		ops = append(ops, op)
	}
	return ops
}

// step returns the model that does the same.
func (op namedOp) step() any {
	var name string
	if s, ok := op.Set["name"].(string); ok && op.Do == "update" && s != op.Name {
		name = s
		if s == "" {
			name = " " // Trac refuses it, and so does the library; "" keeps the name
		}
	}
	at := func(field string) *time.Time {
		us, ok := op.Set[field].(int64)
		if !ok || op.Do == "delete" {
			return nil
		}
		t := time.Time{}
		if us != 0 {
			t = time.UnixMicro(us)
		}
		return &t
	}
	text := func(field string) *string {
		s, ok := op.Set[field].(string)
		if !ok || op.Do == "delete" {
			return nil
		}
		return &s
	}
	var m tracbus.Model
	switch op.Realm {
	case "milestone":
		m = trac.MilestoneEdit{
			Name: op.Name, New: op.Do == "create", NewName: name, Due: at("due"), Completed: at("completed"), Description: text("description"),
			Retarget: op.Retarget, Comment: map[bool]string{true: op.Comment}[op.Do == "update"],
		}
	case "component":
		m = trac.ComponentEdit{Name: op.Name, New: op.Do == "create", NewName: name, Owner: text("owner"), Description: text("description")}
	default:
		m = trac.VersionEdit{Name: op.Name, New: op.Do == "create", NewName: name, Time: at("time"), Description: text("description")}
	}
	if op.Do == "delete" {
		return deleted{m}
	}
	return m
}

// TestNamedThingsAsTracDoes has Trac's own models and those of this library do the same
// things at random: the tables are the same after it, and listeners are told the same.
func TestNamedThingsAsTracDoes(t *testing.T) {
	python := realtrac.Find(t)
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		for seed := range uint64(2) {
			r := newTicketRig(t, s, append(namedRealms()[1:], trac.Tickets{}))
			e := python.NewEnvironment(s, "[components]", "__main__.* = enabled")
			theirs := &ticketRig{t: t, dialect: r.dialect, db: e.Open(t), times: map[int64]string{}}
			for _, table := range []string{"milestone", "component", "version", "ticket", "cache"} {
				theirs.exec("DELETE FROM " + table)
			}
			random := rand.New(rand.NewPCG(seed, 1))
			for _, statement := range randomTickets(random) {
				r.exec(statement)
				theirs.exec(statement)
			}
			ops := randomNamedOps(random, 150)
			var in, out bytes.Buffer
			for _, op := range ops {
				require.NoError(t, json.NewEncoder(&in).Encode(op))
			}
			command := python.Command("testdata/named.py", e.Path)
			command.Stdin, command.Stdout = &in, &out
			var errs bytes.Buffer
			command.Stderr = &errs
			require.NoError(t, command.Run(), "%s", &errs)
			lines, done := json.NewDecoder(&out), 0
			for i, op := range ops {
				var trac struct {
					Done  bool
					Told  []string
					Error string
				}
				require.NoError(t, lines.Decode(&trac))
				told, err := r.toldAsTrac(op)
				what := fmt.Sprintf("seed %d, %d: %+v", seed, i, op)
				require.Equal(t, trac.Done, err == nil, "%s: Trac says %q, and the library %v", what, trac.Error, err)
				require.Equal(t, inOrder(trac.Told), inOrder(told), what)
				if trac.Done {
					done++
				}
			}
			assert.Greater(t, done, 20)
			assert.Equal(t, theirs.comparable(), r.comparable(), "seed %d", seed)
		}
	})
}

// inOrder sorts tickets that were changed one after the other: Trac takes them in the
// order in which the database returns them.
func inOrder(told []string) []string {
	isTicket := func(line string) bool { return strings.HasPrefix(line, "ticket ") }
	for i := range told {
		end := i
		for end < len(told) && isTicket(told[end]) {
			end++
		}
		slices.Sort(told[i:end])
	}
	return told
}

// randomTickets returns statements that make tickets and attachments.
func randomTickets(r *rand.Rand) (statements []string) {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	for id := range 12 {
		statements = append(statements, fmt.Sprintf("INSERT INTO ticket (id, time, changetime, summary, status, milestone, component, version) VALUES (%d, 5, 5, 's', %s, %s, %s, %s)",
			id+1, pick("'new'", "'closed'"), pick("NULL", "''", "'a'", "'b'", "'c'"), pick("NULL", "'a'", "'b'"), pick("NULL", "'a'", "'b'")))
	}
	return append(statements, "INSERT INTO attachment (type, id, filename, size, time, description, author) VALUES ('milestone', 'a', 'f', 1, 5, 'd', 'ann'), ('milestone', 'b', 'f', 1, 5, 'd', 'ann'), ('wiki', 'a', 'f', 1, 5, 'd', 'ann')")
}

// toldAsTrac does one thing, and returns what Trac's listeners would be told: nothing of
// components, versions and attachments, and of what becomes of their tickets.
func (r *ticketRig) toldAsTrac(op namedOp) (told []string, err error) {
	last := r.lastTID()
	if _, err = r.change(op.step()); err != nil {
		return []string{}, err
	}
	us := func(v any) any {
		t, ok := v.(time.Time)
		if ok {
			return t.UnixMicro()
		}
		return v
	}
	told = []string{}
	for e, err := range r.journal.Since(r.t.Context(), last) {
		require.NoError(r.t, err)
		var line string
		fields := e.(tracbus.Recordable).Entry()
		switch e := e.(type) {
		case realms.MilestoneChanged:
			line = fmt.Sprintf("%s changed", e.Resource())
		case realms.MilestoneCreated, realms.MilestoneDeleted:
			told = append(told, fmt.Sprintf("%s %s", e.Resource(), e.Kind()))
			continue
		case tracbus.TicketChanged:
			if op.Realm != "milestone" {
				continue
			}
			line = fmt.Sprintf("%s %s %s", e.Resource(), e.Author, e.Comment)
		default:
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(fields.New)) {
			old, now := us(fields.Old[name]), us(fields.New[name])
			none := any("")
			if name == "due" || name == "completed" {
				none = 0
			}
			old, now = cmp.Or(old, none), cmp.Or(now, none)
			line += fmt.Sprintf(" %s: %v > %v", name, old, now)
		}
		told = append(told, line)
	}
	return told, nil
}

func (r *ticketRig) lastTID() (tid int64) {
	for e, err := range r.journal.Before(r.t.Context(), math.MaxInt64) {
		require.NoError(r.t, err)
		return e.About().TID
	}
	return 0
}

// comparable returns what the tables hold, but for times that nobody knows before.
func (r *ticketRig) comparable() (lines []string) {
	for _, query := range []string{
		"SELECT id, milestone, component, version, status FROM ticket ORDER BY id",
		"SELECT ticket, author, field, oldvalue, newvalue FROM ticket_change ORDER BY ticket, time, field",
		"SELECT name, due, completed, description FROM milestone ORDER BY name",
		"SELECT name, owner, description FROM component ORDER BY name",
		"SELECT name, time, COALESCE(description, '') FROM version ORDER BY name", // Trac writes '' over NULL even if nothing is different
		"SELECT type, id, filename FROM attachment ORDER BY type, id, filename",
	} {
		for _, row := range r.read(query) {
			lines = append(lines, strings.Join(row, "|"))
		}
	}
	return lines
}
