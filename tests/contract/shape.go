package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/tracbus/tracbus"
)

// A shape is what a member of a payload can be, or the payload itself.
type shape struct {
	types   map[string]bool   // JSON's names of them
	members map[string]*shape // of an object
	counts  map[string]int    // how often each was there
	seen    int               // how often the object was
	open    bool              // its other members are fields of a ticket

	flag      bool     // it comes from a bool, and has values
	values    []string // as JSON
	time      bool     // it comes from a time
	int64     bool
	minimum   *int64
	minLength int
	anyOf     []string // of these members, one is there
	absent    []string // it is left out if one of these attributes is absent
}

func newShape() *shape {
	return &shape{types: map[string]bool{}, members: map[string]*shape{}, counts: map[string]int{}}
}

// A probe finds out the shape of what the events of one type and kind are encoded to.
type probe struct {
	base   tracbus.Event
	leaves []leaf
	old    [][2]leaf
	root   *shape
}

// configs are the configurations that change what a payload has.
var configs = []tracbus.PublisherConfig{{}, {FullNewValues: true}}

// attributes are those that can be null or absent.
var attributes = []struct {
	name string
	attr tracbus.Attrs
}{
	{"AttrAuthor", tracbus.AttrAuthor}, {"AttrComment", tracbus.AttrComment}, {"AttrTime", tracbus.AttrTime},
	{"AttrVersion", tracbus.AttrVersion}, {"AttrText", tracbus.AttrText}, {"AttrOldText", tracbus.AttrOldText},
	{"AttrReadonly", tracbus.AttrReadonly}, {"AttrValues", tracbus.AttrValues}, {"AttrOrigin", tracbus.AttrOrigin},
	{"AttrActor", tracbus.AttrActor}, {"AttrAddress", tracbus.AttrAddress}, {"AttrOld", tracbus.AttrOld},
}

// shapeOf returns what the payload of events like e can be.
func shapeOf(e tracbus.Event) (*shape, error) {
	t := reflect.TypeOf(e)
	p := &probe{base: e, leaves: leavesOf(t), old: before(t), root: newShape()}
	p.apart()
	if err := p.openObjects(); err != nil {
		return nil, err
	}
	for _, v := range p.variants() {
		for _, payload := range p.payloads(v) {
			p.root.add(payload)
		}
	}
	p.trace()
	p.bounds()
	p.naming()
	return p.root, p.absent()
}

// apart makes what there was before the change as different from what there is after it
// as the kind of the event allows.
func (p *probe) apart() {
	for _, pair := range p.old {
		now := reflect.ValueOf(p.base).FieldByIndex(pair[0].index)
		if e := with(p.base, pair[1:], func(v reflect.Value) { v.Set(now); vary(v) }); e.Kind() == p.base.Kind() {
			p.base = e
		}
	}
}

// payloads returns the payloads of an event, or none if it is refused or of another kind.
func (p *probe) payloads(e tracbus.Event) (found []map[string]any) {
	if e.Kind() != p.base.Kind() {
		return nil
	}
	for _, config := range configs {
		if payload, err := encode(e, config); err == nil {
			found = append(found, payload)
		}
	}
	return found
}

// encode returns an event's payload, whose numbers are json.Number.
func encode(e tracbus.Event, config tracbus.PublisherConfig) (payload map[string]any, err error) {
	_, text, err := config.Encode(e)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return payload, d.Decode(&payload)
}

// variants returns events that differ from the base in one respect.
func (p *probe) variants() []tracbus.Event {
	found := []tracbus.Event{p.base}
	for _, l := range p.leaves {
		if l.of == fieldsType {
			continue // any fields: see openObjects
		}
		for _, some := range [][]leaf{{l}, l.twins(p.leaves)} {
			found = append(found, with(p.base, some, vary))
			zero := with(p.base, some, reflect.Value.SetZero)
			found = append(found, zero)
			for _, a := range attributes {
				c := zero.About()
				c.Null = a.attr
				found = append(found, zero.WithChange(c))
			}
		}
	}
	same := p.same()
	found = append(found, same)
	for _, pair := range p.old {
		found = append(found, with(same, pair[1:], vary))
	}
	return found
}

// same returns the event of a change that changed nothing.
func (p *probe) same() tracbus.Event {
	e := p.base
	for _, pair := range p.old {
		now := reflect.ValueOf(p.base).FieldByIndex(pair[0].index)
		e = with(e, pair[1:], func(v reflect.Value) { v.Set(now) })
	}
	return e
}

// openObjects finds out which objects have a ticket's fields, and which members they have
// besides.
func (p *probe) openObjects() error {
	var fields []leaf
	for _, l := range p.leaves {
		if l.of == fieldsType {
			fields = append(fields, l)
		}
	}
	if len(fields) == 0 {
		return nil
	}
	bare := with(p.base, fields, func(v reflect.Value) { v.Set(reflect.ValueOf(tracbus.Fields{})) })
	probes := p.payloads(with(bare, fields, vary))
	if len(probes) == 0 {
		return fmt.Errorf("%T with a field %q is refused", p.base, probed)
	}
	for _, payload := range probes {
		p.root.markOpen(payload)
	}
	p.base = bare
	return nil
}

func (s *shape) markOpen(object map[string]any) {
	for name, v := range object {
		if inner, ok := v.(map[string]any); ok {
			if s.members[name] == nil {
				s.members[name] = newShape()
			}
			s.members[name].markOpen(inner)
		} else if name == probed {
			s.open = true
		}
	}
}

// add notes what a value is.
func (s *shape) add(v any) {
	switch v := v.(type) {
	case map[string]any:
		s.types["object"] = true
		s.seen++
		for name, member := range v {
			if s.members[name] == nil {
				s.members[name] = newShape()
			}
			s.counts[name]++
			s.members[name].add(member)
		}
		return
	default:
		s.types[typeOf(v)] = true
	}
	if text, err := json.Marshal(v); err == nil && !slices.Contains(s.values, string(text)) {
		s.values = append(s.values, string(text))
	}
}

// typeOf returns JSON Schema's name of a value's type.
func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case json.Number:
		if _, err := v.Int64(); err == nil {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

// trace finds out from which leaf each member comes, and so what its values mean.
func (p *probe) trace() {
	for _, l := range p.leaves {
		for _, some := range [][]leaf{{l}, l.twins(p.leaves)} {
			p.between(with(p.base, some, vary), func(s *shape) {
				s.flag = s.flag || l.of.Kind() == reflect.Bool
				s.time = s.time || l.of == timeType
				s.int64 = s.int64 || l.of.Kind() == reflect.Int64
			})
		}
	}
}

// between calls f for the shape of each member that differs between an event and the base.
func (p *probe) between(e tracbus.Event, f func(*shape)) {
	if e.Kind() != p.base.Kind() {
		return
	}
	for _, config := range configs {
		a, err1 := encode(p.base, config)
		b, err2 := encode(e, config)
		if err1 == nil && err2 == nil {
			p.root.differing(a, b, f)
		}
	}
}

func (s *shape) differing(a, b map[string]any, f func(*shape)) {
	for name, v := range b {
		x, ok1 := a[name].(map[string]any)
		y, ok2 := v.(map[string]any)
		member := s.members[name]
		switch {
		case member == nil:
		case ok1 && ok2:
			member.differing(x, y, f)
		case !reflect.DeepEqual(a[name], v):
			f(member)
		}
	}
}

// bounds finds the least number that is not refused, and whether a text may be empty.
func (p *probe) bounds() {
	for _, l := range p.leaves {
		twins := l.twins(p.leaves)
		refuses := func(f func(reflect.Value)) bool {
			_, err := encode(with(p.base, twins, f), configs[0])
			return err != nil
		}
		number := func(n int64) func(reflect.Value) { return func(v reflect.Value) { v.SetInt(n) } }
		switch {
		case l.of.Kind() == reflect.Int64 && refuses(number(-1)):
			least := int64(0)
			if refuses(number(0)) {
				least = 1
			}
			p.between(with(p.base, twins, vary), func(s *shape) { s.minimum = &least })
		case l.of.Kind() == reflect.String && refuses(reflect.Value.SetZero):
			p.between(with(p.base, twins, vary), func(s *shape) { s.minLength = 1 })
		}
	}
}

// naming finds the members of which one must differ for an event to be of its kind.
func (p *probe) naming() {
	same := p.same()
	if same.Kind() == p.base.Kind() {
		return
	}
	old := p.root.members["old_values"]
	names := map[string]bool{}
	for _, pair := range p.old {
		for _, payload := range p.payloads(with(same, pair[1:], vary)) {
			for name := range payload["old_values"].(map[string]any) {
				names[name] = true
			}
		}
	}
	if len(names) > 1 { // one alone is required
		old.anyOf = slices.Sorted(maps.Keys(names))
	}
}

// absent finds which members are left out if an attribute is absent.
func (p *probe) absent() error {
	for _, a := range attributes {
		c := p.base.About()
		c.Absent = a.attr
		for i, payload := range p.payloads(p.base.WithChange(c)) {
			full, err := encode(p.base, configs[i])
			if err != nil {
				return err
			}
			for name := range full {
				_, there := payload[name]
				if !there && (a.attr == tracbus.AttrOld || a.attr == tracbus.AttrValues) {
					p.root.counts[name] = 0 // a journal may not know it either
				} else if !there && !slices.Contains(p.root.members[name].absent, a.name) {
					p.root.members[name].absent = append(p.root.members[name].absent, a.name)
				}
			}
		}
	}
	return nil
}
