package contract

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

// dice makes random events.
type dice struct {
	*rand.Rand
	stored bool // in a journal, which refuses some values
}

func newDice(seed uint64, stored bool) dice {
	return dice{rand.New(rand.NewPCG(seed, seed)), stored}
}

// event returns an event of the same channel as another one.
func (d dice) event(t *testing.T, like tracbus.Event) tracbus.Event {
	t.Helper()
	typ := reflect.TypeOf(like)
	for range 1000 {
		e := like
		for _, l := range leavesOf(typ) {
			if l.name == "Realm" && like.Resource().Realm == "task" {
				continue // the channel's
			}
			e = with(e, []leaf{l}, func(v reflect.Value) { d.fill(l.name, v) })
		}
		for _, pair := range before(typ) {
			if d.IntN(3) > 0 {
				now := reflect.ValueOf(e).FieldByIndex(pair[0].index)
				e = with(e, pair[1:], func(v reflect.Value) { v.Set(now) })
			}
		}
		c := e.About()
		c.Env = []string{"myenv", "kernel", "kernel.next", "Ünïts *"}[d.IntN(4)]
		c.Null = tracbus.Attrs(d.Uint32()) & (1<<len(attributes) - 1)
		if !d.stored && d.IntN(4) == 0 {
			c.Absent = tracbus.Attrs(d.Uint32()) & (1<<len(attributes) - 1)
		}
		if e = e.WithChange(c); e.Kind() == like.Kind() {
			return e
		}
	}
	require.Fail(t, "no event of its kind", "%T %s", like, like.Kind())
	return nil
}

func (d dice) fill(field string, v reflect.Value) {
	switch {
	case field == "TID" || field == "Seq" || field == "CommitID": // the journal's
	case v.Type() == timeType:
		v.Set(reflect.ValueOf(d.time()))
	case v.Type() == fieldsType:
		v.Set(reflect.ValueOf(d.fields()))
	case v.Type() == reflect.TypeFor[tracbus.Realm]():
		v.SetString([]string{"ticket", "wiki", "milestone"}[d.IntN(3)])
	case v.Kind() == reflect.Bool:
		v.SetBool(d.IntN(2) == 0)
	case v.Type() == reflect.TypeFor[int64]():
		v.SetInt(1 + d.Int64N([]int64{2, 1000, 1<<62 - 1}[d.IntN(3)]))
	case field == "Name" || field == "OldName" || field == "Filename" || field == "ID":
		v.SetString(d.name())
	case v.Kind() == reflect.String:
		v.SetString(d.text())
	}
}

// text returns what a text may be, also empty, and also if it is no UTF-8.
func (d dice) text() string {
	parts := []string{"", "a", "Ünïcödé", "\u2028", "\x00", "\x1f\t\r\n", `"\`, "\xff\xfe", "😀", ".wiki.created", "null", "*", " ", "{}"}
	var s strings.Builder
	for range d.IntN(4) {
		s.WriteString(parts[d.IntN(len(parts))])
	}
	return s.String()
}

// name returns a name of a page, which anything else may have too.
func (d dice) name() string {
	return fmt.Sprintf("%s/p%d%s", strings.ReplaceAll(strings.ToValidUTF8("n"+d.text(), "?"), "/", ""), d.IntN(3), strings.ToValidUTF8(d.text(), "?"))
}

// time returns a time of the years 1 to 9999, also with an offset that nobody uses, or none.
func (d dice) time() time.Time {
	if d.IntN(4) == 0 {
		return time.Time{}
	}
	at := time.Date(2+d.IntN(9997), 1, 1+d.IntN(365), d.IntN(24), d.IntN(60), d.IntN(60), d.IntN(2)*d.IntN(1e9), time.UTC)
	switch d.IntN(3) {
	case 0:
		return at.In(time.FixedZone("", d.IntN(2*86399)-86399))
	case 1:
		return at.In(time.FixedZone("", 3600*(d.IntN(24)-12)))
	}
	return at
}

func (d dice) fields() tracbus.Fields {
	f := tracbus.Fields{}
	for range d.IntN(5) {
		values := []any{
			nil, d.text(), true, d.time(), d.Int64(), d.NormFloat64() * 1e30, json.Number("-1.50e400"), uint64(1 << 63), float32(0.1),
		}
		name := []string{"summary", "id", "", "=edited", strings.ToValidUTF8(d.text(), "?")}[d.IntN(5)]
		if d.stored && name == "" {
			continue
		}
		f[name] = values[d.IntN(len(values))]
	}
	return f
}
