package tracbus

import (
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
)

// PageIndex is the set of the wiki pages that exist, kept up to date in every
// process: register it with the scope [Everywhere]. It is what Trac keeps as
// WikiSystem.pages.
//
//	pages := tracbus.NewPageIndex(tracbus.PagesConfig{})
//	bus.Wiki(tracbus.Everywhere, pages)
//	if !pages.Get().Has("TracGuide") { … }
//
// Get and Err may be called by any goroutine, never wait, and see whole sets
// only: a renamed page has one of its two names. The other methods are the bus's,
// which calls one at a time.
//
// On a bus without a journal nothing is loaded at the start. Give
// PagesConfig.Unjournaled, and call Resync before the index is registered.
type PageIndex struct {
	config PagesConfig
	pages  atomic.Pointer[PageSet]
	err    atomic.Pointer[error]
}

// NewPageIndex returns an index that is empty until it is loaded.
func NewPageIndex(config PagesConfig) *PageIndex {
	x := &PageIndex{config: config.withDefaults()}
	x.pages.Store(newPageSet(nil))
	return x
}

// Get returns the pages that exist now. Another set means that pages came or
// went since, so that whatever is derived from it can be kept by the pointer.
func (x *PageIndex) Get() *PageSet { return x.pages.Load() }

// Err returns why the set may not be the true one: the bus has no journal,
// changes were missed, and there is nothing to load it from. It is nil if all is
// well.
func (x *PageIndex) Err() error {
	if err := x.err.Load(); err != nil {
		return *err
	}
	return nil
}

// WikiPageCreated implements [WikiListener].
func (x *PageIndex) WikiPageCreated(_ context.Context, e WikiPageCreated) error {
	x.pages.Store(x.Get().with(e.Page.Name))
	return nil
}

// WikiPageChanged implements [WikiListener]. A page without a version is
// read-only, but does not exist.
func (x *PageIndex) WikiPageChanged(_ context.Context, e WikiPageChanged) error {
	if e.Page.Version > 0 || e.Absent.Has(AttrVersion) {
		x.pages.Store(x.Get().with(e.Page.Name))
	}
	return nil
}

// WikiPageDeleted implements [WikiListener].
func (x *PageIndex) WikiPageDeleted(_ context.Context, e WikiPageDeleted) error {
	x.pages.Store(x.Get().without(e.Page.Name))
	return nil
}

// WikiPageRenamed implements [WikiPageRenamedListener].
func (x *PageIndex) WikiPageRenamed(_ context.Context, e WikiPageRenamed) error {
	x.pages.Store(x.Get().without(e.OldName).with(e.Page.Name))
	return nil
}

// Load implements [LoadListener].
func (x *PageIndex) Load(ctx context.Context, s *Snapshot) error {
	return x.load(x.config.Source.Names(ctx, s))
}

// Resync implements [ResyncListener], for a bus without a journal.
func (x *PageIndex) Resync(ctx context.Context, e Resync) error {
	if x.config.Unjournaled != nil {
		return x.load(x.config.Unjournaled.Names(ctx, nil))
	}
	err := fmt.Errorf("page index: changes were missed: %s", e.Reason)
	if x.err.Swap(&err) == nil {
		x.config.Logger.Error("page index cannot be loaded: pages may be missing in it, or gone", "err", err)
	}
	return nil
}

func (x *PageIndex) load(names iter.Seq2[string, error]) error {
	var all []string
	for name, err := range names {
		if err != nil {
			return fmt.Errorf("page index: %w", err)
		}
		all = append(all, name)
	}
	x.pages.Store(newPageSet(all))
	x.err.Store(nil)
	return nil
}

// PageSet is a set of page names. It does not change any more, and is shared by
// all who hold it.
type PageSet struct {
	root pageNode
	seed maphash.Seed
	len  int
}

func newPageSet(names []string) *PageSet {
	slices.Sort(names)
	names = slices.Compact(names)
	s := &PageSet{seed: maphash.MakeSeed(), len: len(names)}
	s.root = newPageNode(s.seed, names, 0)
	return s
}

// Has says whether a page exists. As in Trac, slashes behind its name do not
// count.
func (s *PageSet) Has(name string) bool { return s.has(strings.TrimRight(name, "/")) }

// Len returns how many pages there are.
func (s *PageSet) Len() int { return s.len }

// All yields the names, in no order.
func (s *PageSet) All() iter.Seq[string] {
	return func(yield func(string) bool) { s.root.all(yield) }
}

func (s *PageSet) has(name string) bool {
	n := &s.root
	for hash := maphash.String(s.seed, name); n.below != nil; hash >>= 4 {
		n = &n.below[hash%16]
	}
	return slices.Contains(n.names, name)
}

// with returns the set with name in it, without the set without it.
func (s *PageSet) with(name string) *PageSet {
	if s.has(name) {
		return s
	}
	return &PageSet{s.root.with(s.seed, strings.Clone(name), 0), s.seed, s.len + 1}
}

func (s *PageSet) without(name string) *PageSet {
	if !s.has(name) {
		return s
	}
	return &PageSet{s.root.without(s.seed, name, 0), s.seed, s.len - 1}
}

// pageNode is a node of a tree in which four bits of a name's hash after the
// other show the way. It does not change: a set with one change copies the nodes
// on the way to it, four of 100,000 pages, and shares the others. The zero node
// is empty.
type pageNode struct {
	below *[16]pageNode // nil of a leaf
	names []string      // of a leaf, a few unless their hashes are the same
}

// fewNames is how many a leaf has at most, while there are bits left.
const fewNames = 8

func newPageNode(seed maphash.Seed, names []string, shift int) pageNode {
	if len(names) <= fewNames || shift >= 64 {
		return pageNode{names: slices.Clip(names)}
	}
	var parts [16][]string
	for _, name := range names {
		i := way(seed, name, shift)
		parts[i] = append(parts[i], name)
	}
	n := pageNode{below: new([16]pageNode)}
	for i, part := range parts {
		n.below[i] = newPageNode(seed, part, shift+4)
	}
	return n
}

func way(seed maphash.Seed, name string, shift int) int {
	return int(maphash.String(seed, name) >> shift % 16)
}

func (n pageNode) with(seed maphash.Seed, name string, shift int) pageNode {
	if n.below == nil {
		return newPageNode(seed, append(slices.Clip(n.names), name), shift)
	}
	below, i := *n.below, way(seed, name, shift)
	below[i] = below[i].with(seed, name, shift+4)
	return pageNode{below: &below}
}

// without returns the node without name, which is in it. It stays a tree, for
// where there were many pages there will be many.
func (n pageNode) without(seed maphash.Seed, name string, shift int) pageNode {
	if n.below == nil {
		i := slices.Index(n.names, name)
		return pageNode{names: slices.Concat(n.names[:i], n.names[i+1:])}
	}
	below, i := *n.below, way(seed, name, shift)
	below[i] = below[i].without(seed, name, shift+4)
	return pageNode{below: &below}
}

// all reports false when yield did.
func (n pageNode) all(yield func(string) bool) bool {
	for _, name := range n.names {
		if !yield(name) {
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
