package tracbus

import (
	"context"
	"iter"
	"log/slog"
)

// PagesConfig says where values that are derived from wiki pages are read from:
// [PageValue], [PageIndex], [InterMap] and [BadContent].
type PagesConfig struct {
	// Source is read on a bus with a journal. Nil means Trac's table wiki.
	Source PageSource

	// Unjournaled is read on a bus without a journal, when changes were missed.
	// Its methods get a nil Snapshot. Nil means that nothing can be read then:
	// the value stays as it is, which its Err says.
	Unjournaled PageSource

	// Logger gets pages that cannot be parsed. Nil means slog.Default().
	Logger *slog.Logger
}

// PageSource reads the wiki pages of an application that has its own tables.
// Iterators end after an error; they are used while the call that asked for them
// has not returned.
type PageSource interface {
	// Versions yields the versions of a page, with Version and Text, newest
	// first; none if there is no such page. Older ones are asked for only where
	// newer ones cannot be parsed. A source that keeps no history yields one.
	Versions(ctx context.Context, s *Snapshot, name string) iter.Seq2[WikiPage, error]

	// Names yields the name of each page that exists, in any order.
	Names(ctx context.Context, s *Snapshot) iter.Seq2[string, error]
}

func (c PagesConfig) withDefaults() PagesConfig {
	if c.Source == nil {
		c.Source = tracPages{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// tracPages are those of Trac's table wiki, which has a row for each version.
type tracPages struct{}

func (tracPages) Versions(ctx context.Context, s *Snapshot, name string) iter.Seq2[WikiPage, error] {
	return func(yield func(WikiPage, error) bool) {
		page, ok, err := LoadPage(ctx, s, name)
		for err == nil && ok && yield(page, nil) {
			page, ok, err = versionBefore(ctx, s, page)
		}
		if err != nil {
			yield(WikiPage{}, err)
		}
	}
}

func (tracPages) Names(ctx context.Context, s *Snapshot) iter.Seq2[string, error] {
	return PageNames(ctx, s)
}
