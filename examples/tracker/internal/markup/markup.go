// Package markup shows texts of tickets and pages.
package markup

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"net/url"
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/pages"
)

// HTML returns a text as a part of a page. It is Markdown with Trac's links in it:
// #17, WikiStart, wiki:"Any page", and the prefixes of the page InterMapTxt, as in
// PEP:8. Tags in it are text.
//
// Which pages there are, and where prefixes lead, tracbus keeps up to date in
// every process: looking them up never waits.
//
// A text that would take the parser long, or become a page of many times its
// size, is shown as it stands. If the prefixes of a text would become more than
// mostLinked bytes of addresses and titles, the last of them are no links.
func HTML(source string, pages *pages.Set, links *pages.InterMap) (template.HTML, error) {
	if tooDeep(source) || tooWide(source) {
		return asItStands(source), nil
	}
	markdown := goldmark.New(
		goldmark.WithExtensions(extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute)), extension.Strikethrough, extension.Linkify),
		goldmark.WithParser(parser.NewParser(
			parser.WithBlockParsers(withoutTags(parser.DefaultBlockParsers(), parser.NewHTMLBlockParser())...),
			parser.WithInlineParsers(withoutTags(parser.DefaultInlineParsers(), parser.NewRawHTMLParser())...),
			parser.WithParagraphTransformers(parser.DefaultParagraphTransformers()...),
			parser.WithASTTransformers(util.Prioritized(&linker{pages, links, mostLinked}, 500)),
		)),
	)
	var out page
	switch err := markdown.Convert([]byte(source), &out); {
	case errors.Is(err, errLong):
		return asItStands(source), nil
	case err != nil:
		return "", fmt.Errorf("show a text: %w", err)
	}
	return template.HTML(out.html.String()), nil // goldmark has escaped it
}

func asItStands(source string) template.HTML {
	return template.HTML("<pre>" + template.HTMLEscapeString(source) + "</pre>")
}

// page is what a text becomes: a long address that is used by many short links
// would be there with each of them. It has no other way in than Write.
type page struct{ html bytes.Buffer }

var errLong = errors.New("the page is too long")

// Write refuses more than a page may have.
func (p *page) Write(b []byte) (int, error) {
	if p.html.Len()+len(b) > mostHTML {
		return 0, errLong
	}
	return p.html.Write(b)
}

// What nobody writes, and where the parser begins to take long, for its time grows
// with the square of the depth, or a page to take much memory.
const (
	mostBlocks = 30      // quotations and lists that begin on one line
	mostOpen   = 4000    // brackets, stars and the like that may open something
	mostCells  = 100_000 // of a table, whose short rows are filled up
	mostHTML   = 1 << 20 // bytes
	mostLinked = 1 << 18 // bytes of addresses and titles that prefixes become
)

// tooDeep says whether a text could nest more deeply than anybody writes.
func tooDeep(source string) bool {
	if strings.Count(source, "[")+strings.Count(source, "*")+strings.Count(source, "_")+strings.Count(source, "~") > mostOpen {
		return true
	}
	for line := range strings.Lines(source) {
		if deep := nesting.FindString(line); strings.Count(deep, ">")+len(listMark.FindAllString(deep, -1)) > mostBlocks {
			return true
		}
	}
	return false
}

// tooWide says whether a text could be a table that has many more cells than it
// has room for.
func tooWide(source string) bool {
	columns := 0
	for line := range strings.Lines(source) {
		columns = max(columns, strings.Count(line, "|")+1)
	}
	return columns*(strings.Count(source, "\n")+1) > mostCells
}

var (
	nesting  = regexp.MustCompile(`^(?:[ \t]*(?:>|[-*+]|\d{1,9}[.)]))+[ \t]*`)
	listMark = regexp.MustCompile(`(?:[-*+]|\d[.)])[ \t]`)
)

// PageLink returns the path of a page, whose name may hold anything.
func PageLink(name string) string {
	return (&url.URL{Path: "/wiki/" + name}).EscapedPath()
}

// withoutTags leaves out the parser that would take HTML as HTML.
func withoutTags(parsers []util.PrioritizedValue, tags any) (rest []util.PrioritizedValue) {
	for _, p := range parsers {
		if fmt.Sprintf("%T", p.Value) != fmt.Sprintf("%T", tags) {
			rest = append(rest, p)
		}
	}
	return rest
}

// linker makes links of words.
type linker struct {
	pages *pages.Set
	links *pages.InterMap
	left  int // bytes that prefixes may become yet
}

// trackerLink finds what may be a link: wiki:"a page" or wiki:Page, #17, the name
// of a page like WikiStart, prefix:target. A "!" before it says that it is none.
// What may go over other links before it proves to be one is bounded: the search
// would else look at the rest of the text with each link.
var trackerLink = regexp.MustCompile(`!?(?:wiki:"([^"\n]{1,150})"|\bwiki:([^\s"]+)|(?:\B#|\bticket:)(\d{1,9})\b` +
	`|\b([A-Z][a-z]+(?:[A-Z][a-z]+)+(?:/[A-Z][A-Za-z]+)*)\b|\b([A-Za-z][-\w+.]{0,99}):([^\s"<>]*[\w/#=&]))`)

// Transform implements parser.ASTTransformer.
func (l *linker) Transform(document *ast.Document, reader text.Reader, _ parser.Context) {
	var texts []*ast.Text
	_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n := n.(type) {
		case *ast.Heading:
			if entering {
				n.Level = min(n.Level+1, 6) // the first level is the page's own
			}
		case *ast.Link:
			if entering {
				outside(n, string(n.Destination))
			}
			return ast.WalkSkipChildren, nil
		case *ast.AutoLink:
			if entering {
				outside(n, string(n.URL(reader.Source())))
			}
		case *ast.Image, *ast.CodeSpan:
			return ast.WalkSkipChildren, nil
		case *ast.Text:
			if entering {
				texts = append(texts, n)
			}
		}
		return ast.WalkContinue, nil
	})
	for i, t := range texts {
		if i+1 < len(texts) && joined(t, texts[i+1]) {
			continue // with the next one
		}
		l.split(t, reader.Source())
	}
}

// joined puts a text in front of the one behind it, where the parser has cut one
// in two, as at the "_" in PEP:a_b.
func joined(t, next *ast.Text) bool {
	if t.NextSibling() != ast.Node(next) || t.Segment.Stop != next.Segment.Start || t.SoftLineBreak() || t.HardLineBreak() || t.Segment.Padding+next.Segment.Padding > 0 {
		return false
	}
	next.Segment = next.Segment.WithStart(t.Segment.Start)
	t.Parent().RemoveChild(t.Parent(), t)
	return true
}

// outside marks a link that leaves this site.
func outside(n ast.Node, destination string) {
	if strings.Contains(destination, ":") || strings.HasPrefix(destination, "//") {
		n.SetAttributeString("rel", []byte("nofollow noopener noreferrer"))
		n.SetAttributeString("class", []byte("outside"))
	}
}

// split makes links of parts of a text.
func (l *linker) split(t *ast.Text, source []byte) {
	parent, value := t.Parent(), t.Segment.Value(source)
	start := t.Segment.Start
	done := 0
	for _, m := range trackerLink.FindAllSubmatchIndex(value, -1) {
		group := func(i int) string {
			if m[2*i] < 0 {
				return ""
			}
			return string(value[m[2*i]:m[2*i+1]])
		}
		link := l.link(group)
		if link == nil && value[m[0]] != '!' || m[0] > 0 && strings.ContainsRune("#&", rune(value[m[0]-1])) {
			continue
		}
		plain := ast.NewTextSegment(text.NewSegment(start+done, start+m[0]))
		parent.InsertBefore(parent, t, plain)
		if value[m[0]] == '!' { // only the "!" goes
			done = m[0] + 1
			continue
		}
		link.AppendChild(link, ast.NewTextSegment(text.NewSegment(start+m[0], start+m[1])))
		parent.InsertBefore(parent, t, link)
		done = m[1]
	}
	t.Segment = t.Segment.WithStart(start + done) // the rest, with the line's end
}

// link returns where words lead, or nil for words that are no link.
func (l *linker) link(group func(int) string) *ast.Link {
	link := ast.NewLink()
	page := group(1) + group(2) + group(4)
	switch {
	case page != "" && tracbus.ValidatePageName(page) == nil:
		link.Destination = []byte(PageLink(page))
		if !l.pages.Has(page) {
			link.SetAttributeString("class", []byte("missing"))
			link.Title = []byte("There is no such page yet")
		}
	case group(3) != "":
		link.Destination = []byte("/tickets/" + group(3))
	case group(5) != "" && l.left > 0:
		url, title, ok := l.links.Expand(group(5), group(6))
		if l.left -= len(url) + len(title); !ok || l.left < 0 {
			return nil
		}
		link.Destination, link.Title = []byte(url), []byte(title)
		outside(link, url)
	default:
		return nil
	}
	return link
}
