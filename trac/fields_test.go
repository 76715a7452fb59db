package trac

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

// TestFields: custom fields are in the order of their names, whatever theirs was; the
// last of a name counts, and none has the name of one of Trac's columns.
func TestFields(t *testing.T) {
	fields, err := Tickets{CustomFields: []tracbus.CustomField{
		{Name: "due", Type: "time"}, {Name: "a_b2", Default: "x"}, {Name: "type", Type: "time"}, {Name: "due", Type: "text"}, {Name: "Zz", Type: "textarea"},
	}}.fields()
	require.NoError(t, err)
	assert.Equal(t, []field{{name: "Zz", custom: true, textarea: true}, {name: "a_b2", custom: true, initial: "x"}, {name: "due", custom: true}}, fields.custom)
	for name, want := range map[string]field{
		"due": {name: "due", custom: true}, "type": {name: "type"}, "description": {name: "description", textarea: true}, "time": {}, "": {}, "dus": {},
	} {
		got, ok := fields.of(name)
		assert.Equal(t, want, got, name)
		assert.Equal(t, want.name != "", ok, name)
	}
	assert.Equal(t, []string{"Zz", "a_b2", "cc", "component", "description", "due", "keywords"}, fields.names()[:7])
	assert.Len(t, fields.names(), len(ticketColumns())+3)

	for _, name := range []string{"", "a", "1a", "_a", "a b", "ä1", "a-b", "id", "report", "owner", "ab\n"} {
		_, err := Tickets{CustomFields: []tracbus.CustomField{{Name: "due"}, {Name: name}}}.fields()
		assert.ErrorContains(t, err, "expected another name", "%q", name)
	}
	none, err := Tickets{}.fields()
	require.NoError(t, err)
	allocated := testing.AllocsPerRun(100, func() { _, _ = none.of("milestone") })
	assert.Zero(t, allocated)
}
