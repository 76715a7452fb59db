package store

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDialects: in no database's row is a field forgotten, and each has its schema.
func TestDialects(t *testing.T) {
	// mayBeEmpty says which fields a database can do without.
	mayBeEmpty := func(d *dialect, field string) bool {
		switch field {
		case "stillOpen", "lock", "LockRows":
			return d.oneWriter
		case "ownTables", "migrating", "migrated", "inSchema", "NoLimit", "setCounter", "routines":
			return true
		}
		return false
	}
	for _, d := range dialects {
		t.Run(d.title, func(t *testing.T) {
			require.NotNil(t, d.text, "package sqltext has no such row")
			for _, row := range []reflect.Value{reflect.ValueOf(*d), reflect.ValueOf(*d.text)} {
				for i := range row.NumField() {
					field := row.Type().Field(i)
					if field.Type.Kind() != reflect.Bool && row.Field(i).IsZero() && !mayBeEmpty(d, field.Name) {
						t.Errorf("%s.%s is empty", row.Type(), field.Name)
					}
				}
			}
			assert.Same(t, d, dialectOf(d.text.Name))
			makes := strings.Join(slices.Concat(d.sql().Tables(), d.sql().Views("ticket")), "\n")
			for _, name := range slices.Concat(d.common(), viewsOf("ticket")) {
				made := regexp.MustCompile(`CREATE (OR REPLACE )?(TABLE|VIEW) (IF NOT EXISTS )?\{` + name + `\}`).MatchString(makes)
				assert.True(t, made, "no statement in schema/ makes %s", name)
			}
			step := d.sql().Three([]string{"ticket", "wiki"})
			assert.NotContains(t, strings.Join(slices.Concat(step.Begin, step.Copies(0, 9), step.End), "\n"), "REALM")
			for name, part := range map[string][]string{"begins": step.Begin, "copies": step.Copies(0, 9), "ends": step.End} {
				assert.NotEmpty(t, part, "no statement in schema/ %s the step", name)
			}
		})
	}
	assert.Nil(t, dialectOf("oracle"))
	assert.Equal(t, "sqlite, postgresql or mysql", names())
}
