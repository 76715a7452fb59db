package pages

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/tracbus/tracbus"
)

// Value is a value derived from the text of one wiki page, kept up to date in
// every process: register it with the scope [tracbus.Everywhere]. [InterMap] and
// [BadContent] are the two that Trac has.
//
//	limit := pages.NewValue("UploadLimit", parseSize, pages.Config{})
//	bus.Wiki(tracbus.Everywhere, limit)
//	if size > limit.Get() { … }
//
// The value is that of the page's newest version that can be parsed, or of the
// empty text if there is none. It is the same in every process, whenever that was
// started. A version that cannot be parsed is therefore not an error of the
// listener: the last good value stays, the log gets one record, and Err returns
// the reason.
//
// On a bus without a journal nothing is loaded at the start. Set Config.Fallback,
// and call Resync before you register the value.
type Value[T any] struct {
	name   string
	parse  func(text string) (T, error)
	absent T // the value of a page that does not exist
	config Config
	// partial says that what parse returns with an error is used, too: it is the part
	// of the page that can be.
	partial bool
	state   atomic.Pointer[state[T]]
}

// state is what is known of the page. It never changes.
type state[T any] struct {
	value   T
	text    string // of the newest version
	version int64  // the newest; zero if there is none, or it is unknown
	err     error  // why value is not that of text; nil if it is
	part    bool   // value is that of text but for what err names
	loaded  bool   // by a bus with a journal, which can load it again
}

// NewValue returns the value that parse derives from the page of that name. One
// goroutine at a time calls parse. All callers of Get share what it returns, so
// nobody may change that. As in Trac, a page that does not exist has the empty
// text: NewValue panics if parse returns an error for it.
func NewValue[T any](name string, parse func(text string) (T, error), config Config) *Value[T] {
	absent, err := parse("")
	if err != nil {
		panic(fmt.Sprintf("pages: NewValue needs a parse function that accepts the empty text, "+
			"which a page has that does not exist; for page %q it returned: %v", name, err))
	}
	v := &Value[T]{name: name, parse: parse, absent: absent, config: config.withDefaults()}
	v.state.Store(&state[T]{value: absent})
	return v
}

// Get returns the value.
func (v *Value[T]) Get() T { return v.state.Load().value }

// Err returns why the value is not that of the page's newest text: the text cannot
// be parsed; or the bus has no journal, changes were missed, and there is no
// Config.Fallback to load it from. It is nil if the value is right.
func (v *Value[T]) Err() error { return v.state.Load().err }

// WikiPageCreated implements [tracbus.WikiListener].
func (v *Value[T]) WikiPageCreated(ctx context.Context, e tracbus.WikiPageCreated) error {
	return v.changed(ctx, e.Page, e.Change)
}

// WikiPageChanged implements [tracbus.WikiListener].
func (v *Value[T]) WikiPageChanged(ctx context.Context, e tracbus.WikiPageChanged) error {
	return v.changed(ctx, e.Page, e.Change)
}

// WikiPageDeleted implements [tracbus.WikiListener].
func (v *Value[T]) WikiPageDeleted(_ context.Context, e tracbus.WikiPageDeleted) error {
	if e.Page.Name == v.name {
		v.store(state[T]{value: v.absent})
	}
	return nil
}

// WikiPageRenamed implements [tracbus.WikiPageRenamedListener].
func (v *Value[T]) WikiPageRenamed(ctx context.Context, e tracbus.WikiPageRenamed) error {
	switch v.name {
	case e.OldName:
		v.store(state[T]{value: v.absent})
	case e.Page.Name:
		if err := v.changed(ctx, e.Page, e.Change); err != nil {
			return err
		}
		if s := v.state.Load(); s.err != nil && !s.part { // then the last good version is one of the renamed page
			return v.again(ctx, v.Err())
		}
	}
	return nil
}

// WikiPageVersionDeleted implements [tracbus.WikiPageVersionDeletedListener]. The event does not
// say which text is the newest now.
func (v *Value[T]) WikiPageVersionDeleted(ctx context.Context, e tracbus.WikiPageVersionDeleted) error {
	s := v.state.Load()
	if e.Page.Name != v.name || (s.err == nil || s.part) && 0 < e.Page.Version && e.Page.Version < s.version {
		return nil
	}
	return v.again(ctx, errors.New("a version was deleted"))
}

// Load implements [tracbus.LoadListener].
func (v *Value[T]) Load(ctx context.Context, s *tracbus.Snapshot) error {
	return v.load(v.config.Source.Versions(ctx, s, v.name), true)
}

// Resync implements [tracbus.ResyncListener], for a bus without a journal. It does not
// use e.
func (v *Value[T]) Resync(ctx context.Context, e tracbus.Resync) error {
	return v.again(ctx, fmt.Errorf("changes were missed: %s", e.Reason))
}

// changed derives the value from the text of an event, if that is of the page.
func (v *Value[T]) changed(ctx context.Context, p tracbus.WikiPage, c tracbus.Change) error {
	if p.Name != v.name {
		return nil
	}
	if c.Absent.Has(tracbus.AttrText) {
		return v.again(ctx, errors.New("a change came without the text"))
	}
	next := *v.state.Load()
	next.text, next.version = p.Text, p.Version
	value, err := v.parse(p.Text)
	next.err, next.part = v.broken(p, err), err != nil && v.partial
	if err == nil || v.partial {
		next.value = value
	}
	v.store(next)
	return nil
}

// again derives the value from what can be read: a bus with a journal is asked for
// a Load, otherwise the Fallback is read. If there is none, why becomes the
// value's error.
func (v *Value[T]) again(ctx context.Context, why error) error {
	s := *v.state.Load()
	switch {
	case s.loaded:
		return tracbus.ErrNeedsLoad
	case v.config.Fallback != nil:
		return v.load(v.config.Fallback.Versions(ctx, nil, v.name), false)
	case s.err == nil:
		s.err = fmt.Errorf("page %q: %w", v.name, why)
		v.store(s)
	}
	return nil
}

// load derives the value from the newest version that can be parsed.
func (v *Value[T]) load(versions iter.Seq2[tracbus.WikiPage, error], journaled bool) error {
	next := state[T]{value: v.absent, loaded: journaled}
	newest := true
	for p, err := range versions {
		if err != nil {
			return fmt.Errorf("value of page %q: %w", v.name, err)
		}
		value, err := v.parse(p.Text)
		if newest {
			next.text, next.version, next.err, next.part = p.Text, p.Version, v.broken(p, err), err != nil && v.partial
			newest = false
		}
		if err == nil || v.partial {
			next.value = value
			break
		}
	}
	v.store(next)
	return nil
}

func (v *Value[T]) broken(p tracbus.WikiPage, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("page %q, version %d: %w", v.name, p.Version, err)
}

// store makes s what Get and Err return, and logs a new error.
func (v *Value[T]) store(s state[T]) {
	old := v.state.Load()
	s.loaded = s.loaded || old.loaded
	v.state.Store(&s)
	if s.err == nil || old.err != nil && old.text == s.text {
		return
	}
	attrs := []any{"page", v.name, "version", s.version, "err", s.err}
	if s.part {
		v.config.Logger.Error("wiki page can be used only in part: the lines that err names are left out", attrs...)
	} else {
		v.config.Logger.Error("wiki page cannot be used: what is derived from it stays as it was", attrs...)
	}
}
