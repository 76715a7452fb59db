package tracbus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
)

// PageValue is a value derived from the text of one wiki page, kept up to date
// in every process: register it with the scope [Everywhere]. The original's own
// cases are its [InterMap] and its [BadContent]; for the set of pages there is
// [PageIndex].
//
//	limit := tracbus.NewPageValue("UploadLimit", parseSize, tracbus.PagesConfig{})
//	bus.Wiki(tracbus.Everywhere, limit)
//	if size > limit.Get() { … }
//
// The value is that of the page's newest version that can be parsed, of the
// empty text if there is none: the same in every process, whenever it started.
// A version that cannot be parsed is therefore no failure of the listener. It is
// reported to the log once, and by Err, and the last good value stays.
//
// Get and Err may be called by any goroutine, never wait, and see whole values
// only. The other methods are the bus's, which calls one at a time.
//
// On a bus without a journal nothing is loaded at the start. Give
// PagesConfig.Unjournaled, and call Resync before the value is registered.
type PageValue[T any] struct {
	name   string
	parse  func(text string) (T, error)
	absent T // the value of a page that does not exist
	config PagesConfig
	state  atomic.Pointer[pageState[T]]
}

// pageState is what is known of the page; it does not change any more.
type pageState[T any] struct {
	value   T
	text    string // of the newest version
	version int64  // the newest; zero if there is none, or it is unknown
	err     error  // why value is not that of text; nil if it is
	loaded  bool   // by a bus with a journal, so that it can be loaded again
}

// NewPageValue returns the value that parse derives from the page of that name.
// parse is called by one goroutine at a time. What it returns is shared by all
// who call Get, and should not be changed. As in Trac, a page that does not exist
// has the empty text: NewPageValue panics if parse does not accept that.
func NewPageValue[T any](name string, parse func(text string) (T, error), config PagesConfig) *PageValue[T] {
	absent, err := parse("")
	if err != nil {
		panic(fmt.Sprintf("tracbus: NewPageValue needs a parse function that accepts the empty text, "+
			"which a page has that does not exist; for page %q it returned: %v", name, err))
	}
	v := &PageValue[T]{name: name, parse: parse, absent: absent, config: config.withDefaults()}
	v.state.Store(&pageState[T]{value: absent})
	return v
}

// Get returns the value.
func (v *PageValue[T]) Get() T { return v.state.Load().value }

// Err returns why the value is not that of the page's newest text: that text
// cannot be parsed, or the bus has no journal, changes were missed, and there is
// nothing to load it from. It is nil if all is well.
func (v *PageValue[T]) Err() error { return v.state.Load().err }

// WikiPageCreated implements [WikiListener].
func (v *PageValue[T]) WikiPageCreated(ctx context.Context, e WikiPageCreated) error {
	return v.changed(ctx, e.Page, e.Change)
}

// WikiPageChanged implements [WikiListener].
func (v *PageValue[T]) WikiPageChanged(ctx context.Context, e WikiPageChanged) error {
	return v.changed(ctx, e.Page, e.Change)
}

// WikiPageDeleted implements [WikiListener].
func (v *PageValue[T]) WikiPageDeleted(_ context.Context, e WikiPageDeleted) error {
	if e.Page.Name == v.name {
		v.store(pageState[T]{value: v.absent})
	}
	return nil
}

// WikiPageRenamed implements [WikiPageRenamedListener].
func (v *PageValue[T]) WikiPageRenamed(ctx context.Context, e WikiPageRenamed) error {
	switch v.name {
	case e.OldName:
		v.store(pageState[T]{value: v.absent})
	case e.Page.Name:
		if err := v.changed(ctx, e.Page, e.Change); err != nil {
			return err
		}
		if v.Err() != nil { // then the last good version is one that came along
			return v.again(ctx, v.Err())
		}
	}
	return nil
}

// WikiPageVersionDeleted implements [WikiPageVersionDeletedListener]. The event does not
// tell which text is the newest now.
func (v *PageValue[T]) WikiPageVersionDeleted(ctx context.Context, e WikiPageVersionDeleted) error {
	s := v.state.Load()
	if e.Page.Name != v.name || s.err == nil && 0 < e.Page.Version && e.Page.Version < s.version {
		return nil
	}
	return v.again(ctx, errors.New("a version was deleted"))
}

// Load implements [LoadListener].
func (v *PageValue[T]) Load(ctx context.Context, s *Snapshot) error {
	return v.load(v.config.Source.Versions(ctx, s, v.name), true)
}

// Resync implements [ResyncListener], for a bus without a journal. It does not
// use e.
func (v *PageValue[T]) Resync(ctx context.Context, e Resync) error {
	return v.again(ctx, fmt.Errorf("changes were missed: %s", e.Reason))
}

// changed takes the text that an event tells, if it is about the page.
func (v *PageValue[T]) changed(ctx context.Context, p WikiPage, c Change) error {
	if p.Name != v.name {
		return nil
	}
	if c.Absent.Has(AttrText) {
		return v.again(ctx, errors.New("a change came without the text"))
	}
	next := *v.state.Load()
	next.text, next.version = p.Text, p.Version
	value, err := v.parse(p.Text)
	if next.err = v.broken(p, err); err == nil {
		next.value = value
	}
	v.store(next)
	return nil
}

// again derives the value anew, from what can be read: the journal's bus is
// asked for a Load. If nothing can be read, why says what is wrong with the value.
func (v *PageValue[T]) again(ctx context.Context, why error) error {
	s := *v.state.Load()
	switch {
	case s.loaded:
		return ErrNeedsLoad
	case v.config.Unjournaled != nil:
		return v.load(v.config.Unjournaled.Versions(ctx, nil, v.name), false)
	case s.err == nil:
		s.err = fmt.Errorf("page %q: %w", v.name, why)
		v.store(s)
	}
	return nil
}

// load derives the value from the newest of the versions that can be parsed.
func (v *PageValue[T]) load(versions iter.Seq2[WikiPage, error], journaled bool) error {
	next := pageState[T]{value: v.absent, loaded: journaled}
	newest := true
	for p, err := range versions {
		if err != nil {
			return fmt.Errorf("value of page %q: %w", v.name, err)
		}
		value, err := v.parse(p.Text)
		if newest {
			next.text, next.version, next.err = p.Text, p.Version, v.broken(p, err)
			newest = false
		}
		if err == nil {
			next.value = value
			break
		}
	}
	v.store(next)
	return nil
}

func (v *PageValue[T]) broken(p WikiPage, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("page %q, version %d: %w", v.name, p.Version, err)
}

// store makes s what Get and Err return, and reports what is new about it.
func (v *PageValue[T]) store(s pageState[T]) {
	old := v.state.Load()
	s.loaded = s.loaded || old.loaded
	v.state.Store(&s)
	if s.err != nil && (old.err == nil || old.text != s.text) {
		v.config.Logger.Error("wiki page cannot be used: what is derived from it stays as it was",
			"page", v.name, "version", s.version, "err", s.err)
	}
}
