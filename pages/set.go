package pages

import (
	"iter"
	"strings"

	"github.com/tracbus/tracbus/internal/persistent"
)

// Set is a set of page names. It never changes, and any number of goroutines may
// share it.
type Set struct {
	names *persistent.Set
}

func newSet(names []string) *Set { return &Set{persistent.NewSet(names)} }

// Has says whether a page exists. As in Trac, slashes at the end of the name do
// not count.
func (s *Set) Has(name string) bool { return s.names.Has(strings.TrimRight(name, "/")) }

// Len returns how many pages there are.
func (s *Set) Len() int { return s.names.Len() }

// All iterates over the names, in no particular order.
func (s *Set) All() iter.Seq[string] { return s.names.All() }

// with returns the set with a name in it: s itself if it has the name.
func (s *Set) with(name string) *Set { return s.of(s.names.With(name)) }

// without returns the set without a name: s itself if it does not have it.
func (s *Set) without(name string) *Set { return s.of(s.names.Without(name)) }

func (s *Set) of(names *persistent.Set) *Set {
	if names == s.names {
		return s
	}
	return &Set{names}
}
