package tracbustest

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus"
)

// Every field of an entry is in the form that the journal stores, and comes back from it,
// but for what the bus fills in.
func TestEntryIsWhole(t *testing.T) {
	var e tracbus.Entry
	fill(reflect.ValueOf(&e).Elem())
	e.Change.Primary = false
	plain := plainOf(e)
	for i := range reflect.TypeOf(plain).NumField() {
		assert.False(t, reflect.ValueOf(plain).Field(i).IsZero(), reflect.TypeOf(plain).Field(i).Name)
	}
	assert.Equal(t, e, entryOf(plain))
}

// fill gives each field a value.
func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(7, 0).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint16:
		v.SetUint(5)
	case reflect.Map:
		v.Set(reflect.ValueOf(tracbus.Fields{"field": "value"}))
	}
}
