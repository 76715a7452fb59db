package value

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
)

// The bounds of what [Orders] remember: of each number of names four sets, none of
// which has names of many bytes.
const (
	orderPlaces = 32
	orderWays   = 4
	orderBytes  = 4096
)

// Orders remembers the sets of names that fields have, in the order in which they are
// written: all tickets of a tracker have the same fields, so that there is no need to
// sort them for each message. nil remembers nothing. Its methods may be called
// concurrently.
type Orders struct {
	places [orderPlaces][orderWays]atomic.Pointer[order]
}

// order is a set of names. It never changes.
type order []key

// key is a name, and how an object has it: after a comma, and with a colon.
type key struct{ name, json string }

// AppendFields appends f's members in the order of their names, so that one
// event always makes one payload. except names a member to leave out.
func (o *Orders) AppendFields(dst []byte, f map[string]any, except string) ([]byte, error) {
	if _, found := f[except]; found || o == nil || len(f) < 2 {
		return appendSorted(dst, f, except)
	}
	place := &o.places[len(f)%orderPlaces]
	for i := range place {
		if known := place[i].Load(); known != nil && len(*known) == len(f) {
			if out, ok, err := known.append(dst, f); ok {
				return out, err
			}
		}
	}
	learn(place, f)
	return appendSorted(dst, f, except)
}

// learn remembers the names of f, in the place of another set if there is no room. It
// takes one of eight that come by, so that sets which come once do not drive out those
// that come often.
func learn(place *[orderWays]atomic.Pointer[order], f map[string]any) {
	for i := range place {
		if place[i].Load() == nil {
			place[i].CompareAndSwap(nil, orderOf(f))
			return
		}
	}
	if luck := rand.Uint32(); luck%8 == 0 {
		place[luck/8%orderWays].Store(orderOf(f))
	}
}

// orderOf returns the names of f, or an empty order if they are too long to keep.
func orderOf(f map[string]any) *order {
	known, bytes := make(order, 0, len(f)), 0
	for _, name := range slices.Sorted(maps.Keys(f)) {
		json := string(append(AppendString([]byte{','}, name), ':'))
		if bytes += len(name) + len(json); bytes > orderBytes {
			return new(order)
		}
		known = append(known, key{name, json})
	}
	return &known
}

// append appends f's members if f has these names, of which it has as many.
func (known order) append(dst []byte, f map[string]any) (_ []byte, ok bool, err error) {
	start := len(dst)
	opened := start == 0 || dst[start-1] == '{'
	for _, k := range known {
		v, found := f[k.name]
		if !found {
			return dst[:start], false, nil
		}
		if opened {
			dst, opened = append(dst, k.json[1:]...), false
		} else {
			dst = append(dst, k.json...)
		}
		if s, ok := v.(string); ok { // most are
			dst = AppendString(dst, s)
		} else if dst, err = Append(dst, v); err != nil {
			return dst, true, fmt.Errorf("field %q: %w", k.name, err)
		}
	}
	return dst, true, nil
}
