package pages

import (
	"context"
	"iter"
	"log/slog"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac"
)

// Config says from what the values of this package are read.
type Config struct {
	// Source is read on a bus with a journal. Nil means Trac's table wiki.
	Source Source

	// Fallback is read on a bus without a journal, after changes were missed. Its
	// methods get a nil Snapshot. Nil means that nothing can be read then: the
	// value stays as it is, and its Err says so.
	Fallback Source

	// Logger gets a record of each page that cannot be parsed. Nil means
	// slog.Default().
	Logger *slog.Logger
}

// Source reads the wiki pages of an application that has tables of its own. Its
// iterators end after an error. They are used only until the method that asked
// for them returns.
type Source interface {
	// Versions iterates over the versions of a page, with Version and Text, the
	// newest first: none if there is no such page. Older versions are read only
	// if newer ones cannot be parsed. A source without a history yields one.
	Versions(ctx context.Context, s *tracbus.Snapshot, name string) iter.Seq2[tracbus.WikiPage, error]

	// Names iterates over the names of the pages that exist, in any order.
	Names(ctx context.Context, s *tracbus.Snapshot) iter.Seq2[string, error]
}

func (c Config) withDefaults() Config {
	if c.Source == nil {
		c.Source = tracSource{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// tracSource reads Trac's table wiki.
type tracSource struct{}

func (tracSource) Versions(ctx context.Context, s *tracbus.Snapshot, name string) iter.Seq2[tracbus.WikiPage, error] {
	return trac.LoadPageVersions(ctx, s, name)
}

func (tracSource) Names(ctx context.Context, s *tracbus.Snapshot) iter.Seq2[string, error] {
	return trac.LoadPageNames(ctx, s)
}
