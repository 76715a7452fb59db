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
		case "ownTables", "migrating", "migrated", "inSchema", "NoLimit":
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
			makes := strings.Join(slices.Concat(d.statements(""), d.statements("ticket"), d.upgrade()), "\n")
			for _, table := range slices.Concat(d.common(), upgraded(), []string{"ticket_journal", "ticket_history"}) {
				made := regexp.MustCompile(`CREATE TABLE (IF NOT EXISTS )?\{` + table + `\}`).MatchString(makes)
				assert.True(t, made, "no statement in schema/ makes the table %s", table)
			}
		})
	}
	assert.Nil(t, dialectOf("oracle"))
	assert.Equal(t, "sqlite, postgresql or mysql", names())
}
