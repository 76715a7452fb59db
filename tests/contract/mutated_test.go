package contract

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

// The examples of the document are what it says.
func TestDocumentedExamples(t *testing.T) {
	c := readContract(t)
	require.Len(t, c.examples, len(Examples())+1)
	for message, example := range c.examples {
		assert.NoError(t, c.check(message, parsed(t, example)), message)
	}
}

// A message in which a member has another name, another type or is missing, or which has
// one more, is refused: so a subscriber that reads what the document says is not surprised.
func TestMutatedMessages(t *testing.T) {
	c := readContract(t)
	refused := 0
	for _, e := range Examples() {
		m := mutator{message: nameOf(e), realm: string(e.Resource().Realm)}
		payload, err := encode(e, tracbus.PublisherConfig{})
		require.NoError(t, err)
		require.NoError(t, c.check(m.message, any(payload)))
		for what, mutated := range m.mutations(payload, "") {
			assert.Error(t, c.check(m.message, any(mutated)), "%s: %s: %v", m.message, what, mutated)
			refused++
		}
	}
	assert.Greater(t, refused, 1500)
	t.Logf("%d mutated messages were refused", refused)
}

// mutator knows of a message, from docs/channels.md, what a subscriber must expect.
type mutator struct{ message, realm string }

// hasFields says whether an object has a ticket's fields, which may have any name.
func (m mutator) hasFields(within string) bool {
	return m.realm == "task" && within != "" || m.realm == "ticket" && (within != "" || m.message == "TicketCreated" || m.message == "TicketDeleted")
}

// optional says whether a member may be missing.
func (m mutator) optional(within, name string) bool {
	switch {
	case m.hasFields(within):
		return within != "" || name != "id"
	case m.realm == "task":
		return name == "values" || name == "old_values"
	case within != "old_values":
		return false
	}
	return !strings.HasSuffix(m.message, "Renamed") || name != "name"
}

func (m mutator) nullable(within, name string) bool {
	switch {
	case m.hasFields(within):
		return within != "" || name != "id"
	case m.realm == "task":
		return slices.Contains([]string{"author", "comment", "time"}, name)
	case m.realm == "ticket":
		return slices.Contains([]string{"author", "comment", "old_comment", "time"}, name)
	case m.realm == "wiki":
		return name != "name" && name != "old_name"
	case strings.HasSuffix(m.message, "Created"), strings.HasSuffix(m.message, "Added"), strings.HasSuffix(m.message, "Deleted"), within != "":
		return slices.Contains([]string{"description", "due", "completed", "time"}, name)
	}
	return name == "author"
}

// mutations returns payloads that are no message any more, by what was done.
func (m mutator) mutations(object map[string]any, within string) map[string]map[string]any {
	found := map[string]map[string]any{}
	for name, v := range object {
		other := func(what string, f func(map[string]any)) {
			c := maps.Clone(object)
			f(c)
			found[name+" "+what] = c
		}
		if !m.hasFields(within) || within == "" && name == "id" {
			other("is renamed", func(c map[string]any) { c[name+"s"] = v; delete(c, name) })
		}
		if !m.optional(within, name) {
			other("is missing", func(c map[string]any) { delete(c, name) })
		}
		for what, wrong := range m.wrong(within, name, v) {
			other("is "+what, func(c map[string]any) { c[name] = wrong })
		}
		if name == "old_values" && (strings.HasSuffix(m.message, "Renamed") || strings.HasSuffix(m.message, "Moved")) {
			other("is empty", func(c map[string]any) { c[name] = map[string]any{} })
		}
		if inner, ok := v.(map[string]any); ok {
			for what, mutated := range m.mutations(inner, name) {
				other("with "+what, func(c map[string]any) { c[name] = mutated })
			}
		}
	}
	if !m.hasFields(within) {
		c := maps.Clone(object)
		c["more"] = "text"
		found["more"] = c
	}
	return found
}

// wrong returns values that a member does not have.
func (m mutator) wrong(within, name string, v any) map[string]any {
	all := map[string]any{
		"a text": "text", "a fraction": json.Number("0.5"), "a bool": true, "a list": []any{v}, "an object": map[string]any{"a": v}, "null": nil,
		"a negative number": json.Number("-1"), "a number": json.Number("7"),
	}
	if m.nullable(within, name) {
		delete(all, "null")
	}
	switch {
	case m.hasFields(within) && (within != "" || name != "id"):
		return map[string]any{"a list": all["a list"], "an object": all["an object"]}
	case typeOf(v) == "object":
		delete(all, "an object") // its members are mutated instead
	case typeOf(v) == "string" && !isTime(name):
		delete(all, "a text")
	case name == "size":
		delete(all, "a negative number")
		delete(all, "a number")
	case typeOf(v) == "integer" && name != "readonly":
		delete(all, "a number")
	}
	return all
}

func isTime(name string) bool {
	return slices.Contains([]string{"time", "due", "completed"}, name)
}

// An entry of a stream with another field, or with a value that says something else than
// a publisher does, is refused.
func TestMutatedEntries(t *testing.T) {
	c := readContract(t)
	entry := parsed(t, c.examples[entryName]).(map[string]any)
	require.NotContains(t, entry, "old_types")
	entry["old_types"] = entry["types"]
	require.NoError(t, c.check(entryName, any(entry)))
	refuses := func(what string, f func(map[string]any)) {
		mutated := maps.Clone(entry)
		f(mutated)
		assert.Error(t, c.check(entryName, any(mutated)), "%s: %v", what, mutated)
	}
	for name, v := range entry {
		refuses(name+" is renamed", func(e map[string]any) { e[name+"s"] = v; delete(e, name) })
		refuses(name+" is a number", func(e map[string]any) { e[name] = json.Number("1") })
		refuses(name+" is null", func(e map[string]any) { e[name] = nil })
		if !slices.Contains([]string{"types", "old_types", "traceparent", "tracestate"}, name) {
			refuses(name+" is missing", func(e map[string]any) { delete(e, name) })
		}
	}
	for name, wrong := range map[string]string{
		"channel": "", "payload": "17", "mark": "", "time": "2020-01-02", "authenticated": "true", "types": "[]", "old_types": "", "before": "41", "at": "",
	} {
		refuses(name+" is wrong", func(e map[string]any) { e[name] = wrong })
	}
}
