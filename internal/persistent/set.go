// Package persistent keeps a set of strings that many readers share while it
// changes: a change returns another set, and both share all but what is
// different. Its secret is the tree in which they share it.
package persistent

import (
	"hash/maphash"
	"iter"
	"slices"
	"strings"
)

// Set is a set of strings that never changes. Any number of goroutines may use
// it.
type Set struct {
	root node
	seed maphash.Seed
	len  int
}

// NewSet returns the set of some strings, of which there may be duplicates. It
// keeps and sorts the slice.
func NewSet(all []string) *Set {
	slices.Sort(all)
	all = slices.Compact(all)
	s := &Set{seed: maphash.MakeSeed(), len: len(all)}
	s.root = newNode(s.seed, all, 0)
	return s
}

// Len returns how many strings are in the set.
func (s *Set) Len() int { return s.len }

// All iterates over the strings, in no particular order.
func (s *Set) All() iter.Seq[string] {
	return func(yield func(string) bool) { s.root.all(yield) }
}

// Has says whether a string is in the set.
func (s *Set) Has(member string) bool {
	n := &s.root
	for hash := maphash.String(s.seed, member); n.below != nil; hash >>= 4 {
		n = &n.below[hash%16]
	}
	return slices.Contains(n.members, member)
}

// With returns the set with a string in it: s itself if it has the string.
func (s *Set) With(member string) *Set {
	if s.Has(member) {
		return s
	}
	return &Set{s.root.with(s.seed, strings.Clone(member), 0), s.seed, s.len + 1}
}

// Without returns the set without a string: s itself if it does not have it.
func (s *Set) Without(member string) *Set {
	if !s.Has(member) {
		return s
	}
	return &Set{s.root.without(s.seed, member, 0), s.seed, s.len - 1}
}

// node is a node of a tree in which the bits of a string's hash, four at each
// level, show the way. It never changes: a set with one change copies the nodes
// on the way to it, four in a set of 100,000, and shares the others. The zero
// node is empty.
type node struct {
	below   *[16]node // nil in a leaf
	members []string  // of a leaf: a few, unless their hashes are the same
}

// few is how many members a leaf has at most, as long as there are bits left.
const few = 8

func newNode(seed maphash.Seed, members []string, shift int) node {
	if len(members) <= few || shift >= 64 {
		return node{members: slices.Clip(members)}
	}
	var parts [16][]string
	for _, member := range members {
		i := way(seed, member, shift)
		parts[i] = append(parts[i], member)
	}
	n := node{below: new([16]node)}
	for i, part := range parts {
		n.below[i] = newNode(seed, part, shift+4)
	}
	return n
}

func way(seed maphash.Seed, member string, shift int) int {
	return int(maphash.String(seed, member) >> shift % 16)
}

func (n node) with(seed maphash.Seed, member string, shift int) node {
	if n.below == nil {
		return newNode(seed, append(slices.Clip(n.members), member), shift)
	}
	below, i := *n.below, way(seed, member, shift)
	below[i] = below[i].with(seed, member, shift+4)
	return node{below: &below}
}

// without returns the node without a member, which it has. It stays a tree even
// if few members are left: a set that was large will be large again.
func (n node) without(seed maphash.Seed, member string, shift int) node {
	if n.below == nil {
		i := slices.Index(n.members, member)
		return node{members: slices.Concat(n.members[:i], n.members[i+1:])}
	}
	below, i := *n.below, way(seed, member, shift)
	below[i] = below[i].without(seed, member, shift+4)
	return node{below: &below}
}

// all returns false if yield did.
func (n node) all(yield func(string) bool) bool {
	for _, member := range n.members {
		if !yield(member) {
			return false
		}
	}
	if n.below != nil {
		for _, n := range n.below {
			if !n.all(yield) {
				return false
			}
		}
	}
	return true
}
