package trac_test

import (
	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac"
)

// A wikiCase is what one transaction does to the table wiki, next to the rule
// of Trac's that says so. Rows are as in pageRig.rows, events as in inWords.
type wikiCase struct {
	rule   string
	before []string // versions of the page P
	steps  []any
	told   []string
	rows   []string
	caches []string
	err    error
}

// Save, as WikiPage.save of trac/wiki/model.py does, unless said otherwise.
var wikiEditCases = []wikiCase{
	{
		rule:   "a new page is version 1, and moves the names of pages",
		steps:  []any{trac.PageEdit{Name: "P", Text: new("hello"), Comment: "first"}},
		told:   []string{"created P 1 now joe hello first 0 | because first"},
		rows:   []string{"P 1 now joe hello first 0"},
		caches: []string{"pages 0"},
	},
	{
		rule:   "a new text is a new version, and moves nothing",
		before: []string{"1 5 ann hello first 0"},
		steps:  []any{trac.PageEdit{Name: "P", Text: new("bye"), Comment: "why", Base: 1}},
		told:   []string{"changed P 2 now joe bye why 0 | was hello because why"},
		rows:   []string{"P 1 5 ann hello first 0", "P 2 now joe bye why 0"},
	},
	{
		rule:   "the number after the newest, whatever is missing below",
		before: []string{"2 5 ann two - 0", "7 6 ann seven - 0"},
		steps:  []any{trac.PageEdit{Name: "P", Text: new("eight")}},
		told:   []string{"changed P 8 now joe eight - 0 | was seven"},
		rows:   []string{"P 2 5 ann two - 0", "P 7 6 ann seven - 0", "P 8 now joe eight - 0"},
	},
	{
		rule:   "readonly stays in a new version",
		before: []string{"1 5 ann hello - 1"},
		steps:  []any{trac.PageEdit{Name: "P", Text: new("bye")}},
		told:   []string{"changed P 2 now joe bye - 1 | was hello"},
		rows:   []string{"P 1 5 ann hello - 1", "P 2 now joe bye - 1"},
	},
	{
		rule:   "text and readonly at once: readonly is of the new version only",
		before: []string{"1 5 ann hello - 0"},
		steps:  []any{trac.PageEdit{Name: "P", Text: new("bye"), Readonly: new(true)}},
		told:   []string{"changed P 2 now joe bye - 1 | was hello"},
		rows:   []string{"P 1 5 ann hello - 0", "P 2 now joe bye - 1"},
	},
	{
		rule:   "readonly alone: all versions, no new one, told as of who did it",
		before: []string{"1 5 ann one - 0", "2 6 ann two c 0"},
		steps:  []any{trac.PageEdit{Name: "P", Readonly: new(true), Comment: "lock"}},
		told:   []string{"changed P 2 now joe two lock 1 | was two because lock"},
		rows:   []string{"P 1 5 ann one - 1", "P 2 6 ann two c 1"},
	},
	{
		rule:   "readonly of version 1 moves the names too; it is not a second creation (wiki_page_added in Trac)",
		before: []string{"1 5 ann one - 1"},
		steps:  []any{trac.PageEdit{Name: "P", Text: new("one"), Readonly: new(false)}},
		told:   []string{"changed P 1 now joe one - 0 | was one"},
		rows:   []string{"P 1 5 ann one - 0"},
		caches: []string{"pages 0"},
	},
	{
		rule:   "no difference: nothing stored or told, whatever the comment (Trac: page not modified)",
		before: []string{"1 5 ann hello - 1"},
		steps:  []any{trac.PageEdit{Name: "P", Text: new("hello"), Readonly: new(true), Comment: "why"}, trac.PageEdit{Name: "P"}},
		told:   []string{"nothing", "nothing"},
		rows:   []string{"P 1 5 ann hello - 1"},
	},
	{
		rule:  "no difference between no page and an empty one",
		steps: []any{trac.PageEdit{Name: "P", Text: new("")}, trac.PageEdit{Name: "P", Text: new(""), Readonly: new(false)}},
		told:  []string{"nothing", "nothing"},
	},
	{
		rule:  "no page: readonly alone has no row to be in (Trac tells of a version 0 that it does not store)",
		steps: []any{trac.PageEdit{Name: "P", Readonly: new(true)}},
		err:   tracbus.ErrNotFound,
	},
	{
		rule:  "no page: nor with an empty text",
		steps: []any{trac.PageEdit{Name: "P", Text: new(""), Readonly: new(true)}},
		err:   tracbus.ErrNotFound,
	},
	{
		rule:  "no page: no patch without a text",
		steps: []any{trac.PageEdit{Name: "P", Comment: "why"}},
		err:   tracbus.ErrNotFound,
	},
	{
		rule:   "a version 0 is not a page yet; its readonly counts",
		before: []string{"0 5 ann - - 0"},
		steps:  []any{trac.PageEdit{Name: "P", Readonly: new(true)}, trac.PageEdit{Name: "P", Text: new("hello")}},
		told:   []string{"changed P 0 now joe - - 1 | was -", "created P 1 now joe hello - 1"},
		rows:   []string{"P 0 5 ann - - 1", "P 1 now joe hello - 1"},
		caches: []string{"pages 0"},
	},
	{
		rule:   "an empty text is a text",
		before: []string{"1 5 ann hello - 0"},
		steps:  []any{trac.PageEdit{Name: "P", Text: new("")}},
		told:   []string{"changed P 2 now joe - - 0 | was hello"},
		rows:   []string{"P 1 5 ann hello - 0", "P 2 now joe - - 0"},
	},
	{
		rule:   "NULLs: trac-admin leaves the comment out, readonly counts as 0 (WikiPage._fetch)",
		before: []string{"1 NULL NULL NULL NULL NULL"},
		steps:  []any{trac.PageEdit{Name: "P", Readonly: new(false), Text: new("")}, trac.PageEdit{Name: "P", Readonly: new(true)}, trac.PageEdit{Name: "P", Text: new("x")}},
		told:   []string{"nothing", "changed P 1 now joe NULL - 1 | was NULL", "changed P 2 now joe x - 1 | was NULL"},
		rows:   []string{"P 1 NULL NULL NULL NULL 1", "P 2 now joe x - 1"},
		caches: []string{"pages 0"},
	},
	{
		rule:   "Base: the version that the user saw (version != page.version in trac/wiki/web_ui.py)",
		before: []string{"1 5 ann hello - 0", "2 5 ann bye - 0"},
		steps:  []any{trac.PageEdit{Name: "P", Text: new("x"), Base: 1}},
		rows:   []string{"P 1 5 ann hello - 0", "P 2 5 ann bye - 0"},
		err:    tracbus.ErrConflict,
	},
	{
		rule:   "Base: even where nothing would be different",
		before: []string{"1 5 ann hello - 0", "2 5 ann bye - 0"},
		steps:  []any{trac.PageEdit{Name: "P", Text: new("bye"), Base: 1}},
		rows:   []string{"P 1 5 ann hello - 0", "P 2 5 ann bye - 0"},
		err:    tracbus.ErrConflict,
	},
	{
		rule:  "Base: somebody deleted the page",
		steps: []any{trac.PageEdit{Name: "P", Text: new("x"), Base: 1}},
		err:   tracbus.ErrConflict,
	},
	{
		rule:   "Base: somebody created the page too",
		before: []string{"1 5 ann hello - 0"},
		steps:  []any{trac.PageEdit{Name: "P", Text: new("x"), Base: trac.NoPage}},
		rows:   []string{"P 1 5 ann hello - 0"},
		err:    tracbus.ErrConflict,
	},
	{
		rule:   "Base: nobody did",
		steps:  []any{trac.PageEdit{Name: "P", Text: new("x"), Base: trac.NoPage}},
		told:   []string{"created P 1 now joe x - 0"},
		rows:   []string{"P 1 now joe x - 0"},
		caches: []string{"pages 0"},
	},
	{
		rule:  "names: an empty part (validate_page_name)",
		steps: []any{trac.PageEdit{Name: "/P", Text: new("x")}},
		err:   tracbus.ErrInvalidPageName,
	},
	{
		rule:  "names: deleting",
		steps: []any{deleted{trac.PageEdit{Name: ""}}},
		err:   tracbus.ErrInvalidPageName,
	},
}

// A second change in the same transaction: one version, unlike in Trac.
var wikiAgainCases = []wikiCase{
	{
		rule: "a created page is written over; its comment stays if there is no other",
		steps: []any{
			trac.PageEdit{Name: "P", Text: new("one"), Comment: "first", Base: trac.NoPage},
			trac.PageEdit{Name: "P", Text: new("two"), Base: trac.NoPage},
		},
		told:   []string{"created P 1 now joe one first 0 | because first", "changed P 1 now joe two first 0 | was one because first"},
		rows:   []string{"P 1 now joe two first 0"},
		caches: []string{"pages 1"},
	},
	{
		rule:   "a new version is written over, with any comment, on either base",
		before: []string{"3 5 ann zero - 0"},
		steps: []any{
			trac.PageEdit{Name: "P", Text: new("one"), Comment: "first", Base: 3},
			trac.PageEdit{Name: "P", Text: new("two"), Comment: "second", Base: 3},
			trac.PageEdit{Name: "P", Text: new("three"), Base: 4},
		},
		told: []string{
			"changed P 4 now joe one first 0 | was zero because first",
			"changed P 4 now joe two second 0 | was one because second",
			"changed P 4 now joe three second 0 | was two because second",
		},
		rows: []string{"P 3 5 ann zero - 0", "P 4 now joe three second 0"},
	},
	{
		rule:   "a new version, with another base",
		before: []string{"3 5 ann zero - 0"},
		steps:  []any{trac.PageEdit{Name: "P", Text: new("one")}, trac.PageEdit{Name: "P", Text: new("two"), Base: 2}},
		rows:   []string{"P 3 5 ann zero - 0"},
		err:    tracbus.ErrConflict,
	},
	{
		rule:   "only the comment is new",
		before: []string{"3 5 ann zero - 0"},
		steps:  []any{trac.PageEdit{Name: "P", Text: new("one")}, trac.PageEdit{Name: "P", Comment: "why"}, trac.PageEdit{Name: "P", Comment: "why"}},
		told: []string{
			"changed P 4 now joe one - 0 | was zero",
			"changed P 4 now joe one why 0 | was one because why",
			"nothing",
		},
		rows: []string{"P 3 5 ann zero - 0", "P 4 now joe one why 0"},
	},
	{
		rule:   "readonly after the text: all versions",
		before: []string{"3 5 ann zero - 0"},
		steps:  []any{trac.PageEdit{Name: "P", Text: new("one")}, trac.PageEdit{Name: "P", Readonly: new(true), Comment: "lock"}},
		told: []string{
			"changed P 4 now joe one - 0 | was zero",
			"changed P 4 now joe one lock 1 | was one because lock",
		},
		rows: []string{"P 3 5 ann zero - 1", "P 4 now joe one lock 1"},
	},
	{
		rule:   "readonly before the text: the version is not this transaction's",
		before: []string{"3 5 ann zero - 0"},
		steps:  []any{trac.PageEdit{Name: "P", Readonly: new(true)}, trac.PageEdit{Name: "P", Text: new("one")}},
		told: []string{
			"changed P 3 now joe zero - 1 | was zero",
			"changed P 4 now joe one - 1 | was zero",
		},
		rows: []string{"P 3 5 ann zero - 1", "P 4 now joe one - 1"},
	},
	{
		rule:   "text and readonly, twice",
		before: []string{"3 5 ann zero - 0"},
		steps: []any{
			trac.PageEdit{Name: "P", Text: new("one"), Readonly: new(true)},
			trac.PageEdit{Name: "P", Text: new("two"), Readonly: new(false)},
		},
		told: []string{
			"changed P 4 now joe one - 1 | was zero",
			"changed P 4 now joe two - 0 | was one",
		},
		rows: []string{"P 3 5 ann zero - 0", "P 4 now joe two - 0"},
	},
	{
		rule:   "created and deleted",
		steps:  []any{trac.PageEdit{Name: "P", Text: new("one")}, deleted{trac.PageEdit{Name: "P", Base: trac.NoPage}}},
		told:   []string{"created P 1 now joe one - 0", "deleted P 1 now joe one - 0"},
		caches: []string{"pages 1"},
	},
	{
		rule:   "deleted and created again",
		before: []string{"3 5 ann zero - 0"},
		steps:  []any{deleted{trac.PageEdit{Name: "P"}}, trac.PageEdit{Name: "P", Text: new("one")}, trac.PageEdit{Name: "P", Text: new("two")}},
		told: []string{
			"deleted P 3 5 ann zero - 0",
			"created P 1 now joe one - 0",
			"changed P 1 now joe two - 0 | was one",
		},
		rows:   []string{"P 1 now joe two - 0"},
		caches: []string{"pages 2"},
	},
	{
		rule:   "the new version deleted, and made again",
		before: []string{"3 5 ann zero - 0"},
		steps: []any{
			trac.PageEdit{Name: "P", Text: new("one")},
			deleted{trac.PageVersionDelete{Name: "P", Version: 4}},
			trac.PageEdit{Name: "P", Text: new("two")},
		},
		told: []string{
			"changed P 4 now joe one - 0 | was zero",
			"version_deleted P 4 now joe one - 0",
			"changed P 4 now joe two - 0 | was zero",
		},
		rows: []string{"P 3 5 ann zero - 0", "P 4 now joe two - 0"},
	},
}
