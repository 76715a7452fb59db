package pages

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/tracbus/tracbus"
)

// Index is the set of the wiki pages that exist, kept up to date in every
// process: register it with the scope [tracbus.Everywhere]. It is what Trac keeps
// as WikiSystem.pages.
//
//	index := pages.NewIndex(pages.Config{})
//	bus.Wiki(tracbus.Everywhere, index)
//	if !index.Get().Has("TracGuide") { … }
//
// A set that Get returns is whole: a renamed page has one of its two names.
//
// On a bus without a journal nothing is loaded at the start. Set Config.Fallback,
// and call Resync before you register the index.
type Index struct {
	config Config
	pages  atomic.Pointer[Set]
	err    atomic.Pointer[error]
}

// NewIndex returns an index that is empty until it is loaded.
func NewIndex(config Config) *Index {
	x := &Index{config: config.withDefaults()}
	x.pages.Store(newSet(nil))
	return x
}

// Get returns the pages that exist now. As long as no page is created, renamed or
// deleted, it returns the same pointer: a program can keep what it derives from a
// set together with that pointer.
func (x *Index) Get() *Set { return x.pages.Load() }

// Err returns why the set may be wrong: the bus has no journal, changes were
// missed, and there is no Config.Fallback to load it from. It is nil if the set is
// right.
func (x *Index) Err() error {
	if err := x.err.Load(); err != nil {
		return *err
	}
	return nil
}

// WikiPageCreated implements [tracbus.WikiListener].
func (x *Index) WikiPageCreated(_ context.Context, e tracbus.WikiPageCreated) error {
	x.pages.Store(x.Get().with(e.Page.Name))
	return nil
}

// WikiPageChanged implements [tracbus.WikiListener]. A page without a version may
// be read-only, but does not exist.
func (x *Index) WikiPageChanged(_ context.Context, e tracbus.WikiPageChanged) error {
	if e.Page.Version > 0 || (e.Absent | e.Null).Has(tracbus.AttrVersion) {
		x.pages.Store(x.Get().with(e.Page.Name))
	}
	return nil
}

// WikiPageDeleted implements [tracbus.WikiListener].
func (x *Index) WikiPageDeleted(_ context.Context, e tracbus.WikiPageDeleted) error {
	x.pages.Store(x.Get().without(e.Page.Name))
	return nil
}

// WikiPageRenamed implements [tracbus.WikiPageRenamedListener].
func (x *Index) WikiPageRenamed(_ context.Context, e tracbus.WikiPageRenamed) error {
	x.pages.Store(x.Get().without(e.OldName).with(e.Page.Name))
	return nil
}

// Load implements [tracbus.LoadListener].
func (x *Index) Load(ctx context.Context, s *tracbus.Snapshot) error {
	return x.load(x.config.Source.Names(ctx, s))
}

// Resync implements [tracbus.ResyncListener], for a bus without a journal.
func (x *Index) Resync(ctx context.Context, e tracbus.Resync) error {
	if x.config.Fallback != nil {
		return x.load(x.config.Fallback.Names(ctx, nil))
	}
	err := fmt.Errorf("page index: changes were missed: %s", e.Reason)
	if x.err.Swap(&err) == nil {
		x.config.Logger.Error("page index cannot be loaded: pages may be missing in it, or gone", "err", err)
	}
	return nil
}

func (x *Index) load(names iter.Seq2[string, error]) error {
	var all []string
	for name, err := range names {
		if err != nil {
			return fmt.Errorf("page index: %w", err)
		}
		all = append(all, name)
	}
	x.pages.Store(newSet(all))
	x.err.Store(nil)
	return nil
}
