package trac_test

import (
	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac"
)

// The rarer changes: WikiPage.delete, rename and edit_comment.
var wikiRareCases = []wikiCase{
	{
		rule:   "delete: all versions; the event has the last one (Trac's is empty)",
		before: []string{"1 5 ann one first 0", "2 6 bob two NULL 1"},
		steps:  []any{deleted{trac.PageEdit{Name: "P", Comment: "spam", Base: 2}}},
		told:   []string{"deleted P 2 6 bob two NULL 1 | because spam"},
		caches: []string{"pages 0"},
	},
	{
		rule:  "delete: no page",
		steps: []any{deleted{trac.PageEdit{Name: "P"}}},
		err:   tracbus.ErrNotFound,
	},
	{
		rule:   "delete: no page but a version 0",
		before: []string{"0 5 ann - - 1"},
		steps:  []any{deleted{trac.PageEdit{Name: "P"}}},
		rows:   []string{"P 0 5 ann - - 1"},
		err:    tracbus.ErrNotFound,
	},
	{
		rule:   "delete: another base",
		before: []string{"1 5 ann one - 0", "2 6 bob two - 0"},
		steps:  []any{deleted{trac.PageEdit{Name: "P", Base: 1}}},
		rows:   []string{"P 1 5 ann one - 0", "P 2 6 bob two - 0"},
		err:    tracbus.ErrConflict,
	},
	{
		rule:   "version: one in the middle",
		before: []string{"1 5 ann one - 0", "2 6 bob two second 0", "3 7 cat three - 0"},
		steps:  []any{deleted{trac.PageVersionDelete{Name: "P", Version: 2, Comment: "spam"}}},
		told:   []string{"version_deleted P 2 6 bob two second 0 | because spam"},
		rows:   []string{"P 1 5 ann one - 0", "P 3 7 cat three - 0"},
	},
	{
		rule:   "version: the last, whose number comes again",
		before: []string{"1 5 ann one - 0", "2 6 bob two - 0"},
		steps:  []any{deleted{trac.PageVersionDelete{Name: "P", Version: 2}}, trac.PageEdit{Name: "P", Text: new("three")}},
		told:   []string{"version_deleted P 2 6 bob two - 0", "changed P 2 now joe three - 0 | was one"},
		rows:   []string{"P 1 5 ann one - 0", "P 2 now joe three - 0"},
	},
	{
		rule:   "version: the only one deletes the page",
		before: []string{"4 5 ann one - 0"},
		steps:  []any{deleted{trac.PageVersionDelete{Name: "P", Version: 4, Comment: "spam"}}},
		told:   []string{"deleted P 4 5 ann one - 0 | because spam"},
		caches: []string{"pages 0"},
	},
	{
		rule:   "version: none of that number (Trac deletes no row and tells of it)",
		before: []string{"1 5 ann one - 0"},
		steps:  []any{deleted{trac.PageVersionDelete{Name: "P", Version: 2}}},
		rows:   []string{"P 1 5 ann one - 0"},
		err:    tracbus.ErrNotFound,
	},
	{
		rule:   "version: 0 is none",
		before: []string{"1 5 ann one - 0"},
		steps:  []any{deleted{trac.PageVersionDelete{Name: "P"}}},
		rows:   []string{"P 1 5 ann one - 0"},
		err:    tracbus.ErrNotFound,
	},
	{
		rule:   "rename: all versions; the event has the last one",
		before: []string{"1 5 ann one - 0", "2 6 bob two NULL 1"},
		steps:  []any{trac.PageRename{Name: "P", NewName: "Q/R", Comment: "better"}},
		told:   []string{"renamed Q/R 2 6 bob two NULL 1 | was P because better"},
		rows:   []string{"Q/R 1 5 ann one - 0", "Q/R 2 6 bob two NULL 1"},
		caches: []string{"pages 0"},
	},
	{
		rule:   "rename: of the version that the user saw",
		before: []string{"1 5 ann one - 0", "2 6 bob two - 0"},
		steps:  []any{trac.PageRename{Name: "P", NewName: "Q", Base: 2}},
		told:   []string{"renamed Q 2 6 bob two - 0 | was P"},
		rows:   []string{"Q 1 5 ann one - 0", "Q 2 6 bob two - 0"},
		caches: []string{"pages 0"},
	},
	{
		rule:   "rename: somebody was faster",
		before: []string{"1 5 ann one - 0", "2 6 bob two - 0"},
		steps:  []any{trac.PageRename{Name: "P", NewName: "Q", Base: 1}},
		rows:   []string{"P 1 5 ann one - 0", "P 2 6 bob two - 0"},
		err:    tracbus.ErrConflict,
	},
	{
		rule:   "rename: and leave a redirection, as Trac's form offers",
		before: []string{"1 5 ann one - 0"},
		steps:  []any{trac.PageRename{Name: "P", NewName: "Q"}, trac.PageEdit{Name: "P", Text: new("See Q")}},
		told:   []string{"renamed Q 1 5 ann one - 0 | was P", "created P 1 now joe See Q - 0"},
		rows:   []string{"P 1 now joe See Q - 0", "Q 1 5 ann one - 0"},
		caches: []string{"pages 1"},
	},
	{
		rule:   "rename: to what it is called",
		before: []string{"1 5 ann one - 0"},
		steps:  []any{trac.PageRename{Name: "P", NewName: "P"}},
		told:   []string{"nothing"},
		rows:   []string{"P 1 5 ann one - 0"},
	},
	{
		rule:   "rename: to what another is called",
		before: []string{"1 5 ann one - 0"},
		steps:  []any{trac.PageEdit{Name: "Q", Text: new("mine")}, trac.PageRename{Name: "P", NewName: "Q"}},
		rows:   []string{"P 1 5 ann one - 0"},
		err:    trac.ErrPageExists,
	},
	{
		rule:   "rename: to what cannot be a name",
		before: []string{"1 5 ann one - 0"},
		steps:  []any{trac.PageRename{Name: "P", NewName: "Q//R"}},
		rows:   []string{"P 1 5 ann one - 0"},
		err:    tracbus.ErrInvalidPageName,
	},
	{
		rule:  "rename: no page",
		steps: []any{trac.PageRename{Name: "P", NewName: "Q"}},
		err:   tracbus.ErrNotFound,
	},
	{
		rule:   "comment: of one version",
		before: []string{"1 5 ann one first 0", "2 6 bob two second 0"},
		steps:  []any{trac.PageCommentEdit{Name: "P", Version: 1, Comment: "better"}},
		told:   []string{"comment_edited P 1 5 ann one better 0 | was first"},
		rows:   []string{"P 1 5 ann one better 0", "P 2 6 bob two second 0"},
	},
	{
		rule:   "comment: of the newest, where there was none",
		before: []string{"1 5 ann one first 0", "2 6 bob two NULL 0"},
		steps:  []any{trac.PageCommentEdit{Name: "P", Comment: "second"}},
		told:   []string{"comment_edited P 2 6 bob two second 0 | was NULL"},
		rows:   []string{"P 1 5 ann one first 0", "P 2 6 bob two second 0"},
	},
	{
		rule:   "comment: the same again",
		before: []string{"1 5 ann one first 0"},
		steps:  []any{trac.PageCommentEdit{Name: "P", Version: 1, Comment: "first"}},
		told:   []string{"nothing"},
		rows:   []string{"P 1 5 ann one first 0"},
	},
	{
		rule:   "comment: no such version",
		before: []string{"1 5 ann one first 0"},
		steps:  []any{trac.PageCommentEdit{Name: "P", Version: 2, Comment: "second"}},
		rows:   []string{"P 1 5 ann one first 0"},
		err:    tracbus.ErrNotFound,
	},
}
