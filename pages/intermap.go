package pages

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// InterMap is what the page InterMapTxt says of prefixes in links to other
// trackers and wikis, as in "PEP:8". It does what the InterWikiMap of Trac 1.0 to
// 1.6 does, except that it does not read trac.ini's section [interwiki], and
// follows renamed pages, which Trac misses.
//
// On the page, entries are between lines that begin with "----":
//
//	----
//	PEP   http://www.python.org/peps/pep-$1.html   # Python Enhancement Proposal $1
//	----
//
// A line that is not an entry is ignored. An entry is left out, and the others are
// used, if its prefix has more than 100 bytes, its URL or its title more than 1,000
// bytes or 20 places, or if there are 1,000 before it: the log and Err have
// [EntryErrors], which list each of them. Have [CheckInterMap] refuse such a page before
// it is saved. Control characters of a URL and a title stay as they are on the page; see
// [Value].
type InterMap struct {
	// Value is a map of the entries by their upper-case prefixes.
	*Value[map[string]InterMapEntry]
	safe map[string]bool
}

// InterMapEntry is one prefix. Both URL and Title may have the places $1 to $9.
type InterMapEntry struct {
	Prefix string // as on the page; upper and lower case are the same
	URL    string
	Title  string // the comment after the URL; if there is none, the prefix
}

// InterMapConfig says from what an [InterMap] reads its page, and which links it
// trusts.
type InterMapConfig struct {
	// Config says from what the page is read.
	Config Config

	// SafeSchemes are the schemes that a link may have. Zero means Trac's default
	// of [wiki] safe_schemes.
	SafeSchemes []string
}

// tracSafeSchemes is the default of safe_schemes in Trac 1.6.
var tracSafeSchemes = []string{
	"cvs", "file", "ftp", "git", "irc", "http", "https", "news", "sftp", "smb", "ssh", "svn", "svn+ssh",
}

// NewInterMap returns a map that is empty until it is loaded: register it as a
// [tracbus.WikiListener] with the scope [tracbus.Everywhere].
func NewInterMap(config InterMapConfig) *InterMap {
	if config.SafeSchemes == nil {
		config.SafeSchemes = tracSafeSchemes
	}
	v := NewValue("InterMapTxt", parseInterMap, config.Config)
	v.partial = true
	m := &InterMap{Value: v, safe: make(map[string]bool)}
	for _, scheme := range config.SafeSchemes {
		m.safe[scheme] = true
	}
	return m
}

// All iterates over the entries in the order of their prefixes.
func (m *InterMap) All() iter.Seq[InterMapEntry] {
	return func(yield func(InterMapEntry) bool) {
		entries := m.Get()
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			if !yield(entries[key]) {
				return
			}
		}
	}
}

// What whoever edits the page, or writes a link, can make of it at most.
const (
	mostPrefix   = 100     // bytes
	mostAddress  = 1000    // bytes of a URL on the page, and of a title
	mostPlaces   = 20      // in each of them
	mostEntries  = 1000    // of the page
	mostExpanded = 4 << 10 // bytes of a URL that Expand returns, and of its title
)

// Expand returns the URL of the link prefix:target, and its title. ok is false if
// there is no such prefix, if the URL would be empty or have a scheme that is not
// safe, such as javascript, or if target, the URL or the title would have more than
// 4 KiB. It builds no text of more than 8 KiB to see that.
//
// The URL's $1 to $9 become the parts of target between colons; the last of them
// becomes all that is left, and one without a part becomes empty. If the URL has
// none of them, the target is appended. Then target's ?query is added to the
// URL's, and its #fragment replaces the URL's.
func (m *InterMap) Expand(prefix, target string) (url, title string, ok bool) {
	if len(prefix) > mostPrefix || len(target) > mostExpanded {
		return "", "", false
	}
	entry, ok := m.Get()[strings.ToUpper(prefix)]
	if !ok {
		return "", "", false
	}
	target, query, fragment := splitURL(target)
	parts := strings.SplitN(target, ":", max(1, places(entry.URL)))
	if url, ok = expand(entry.URL, parts); !ok {
		return "", "", false
	}
	if url == entry.URL {
		url += parts[0]
	}
	url, ownQuery, ownFragment := splitURL(url)
	if ownQuery != "" && query != "" {
		query = "&" + query[1:]
	}
	if fragment == "" {
		fragment = ownFragment
	}
	url += ownQuery + query + fragment
	if scheme, _, absolute := strings.Cut(url, ":"); url == "" || absolute && !m.safe[scheme] {
		return "", "", false
	}
	if title, ok = expand(entry.Title, parts); !ok {
		return "", "", false
	}
	if title == entry.Title {
		title = target + " in " + title
	}
	if len(url) > mostExpanded || len(title) > mostExpanded {
		return "", "", false
	}
	return url, title, true
}

// CheckInterMap says what [InterMap] cannot use of a page's text: it returns nil or
// [EntryErrors]. An application calls it to refuse an edit of the page.
func CheckInterMap(text string) error {
	_, err := parseInterMap(text)
	return err
}

// EntryErrors are the entries of the page [InterMap] that are left out. [errors.As]
// finds them in its Err and in what [CheckInterMap] returns.
type EntryErrors []EntryError

// EntryError is an entry of the page [InterMap] that is left out.
type EntryError struct {
	Line   int    // of the page, from 1
	Prefix string // as it is written there
	Err    error  // what is wrong with it
}

// Error names the first ten lines with their prefixes and what is wrong with them, and
// how many others there are.
func (e EntryErrors) Error() string {
	return firstOf(e, func(e EntryError) string {
		return fmt.Sprintf("line %d: prefix %.100q: %v", e.Line, e.Prefix, e.Err)
	})
}

// firstOf says the first ten of what is wrong with a page, because a page can have
// thousands of lines, and a log has one for all of them.
func firstOf[E any](wrong []E, say func(E) string) string {
	const most = 10
	var said []string
	for _, e := range wrong[:min(most, len(wrong))] {
		said = append(said, say(e))
	}
	if more := len(wrong) - most; more > 0 {
		said = append(said, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(said, "; ")
}

// interMapLine is Trac's _interwiki_re, with the LINK_SCHEME of Trac 0.12 to 1.6.
var interMapLine = regexp.MustCompile(`^([a-zA-Z][-a-zA-Z0-9+._]*)[ \t]+([^ \t]+)(?:[ \t]+#(.*))?`)

// parseInterMap returns the entries that can be used, and EntryErrors if there are
// others. After mostEntries, one error stands for all the rest.
func parseInterMap(text string) (map[string]InterMapEntry, error) {
	entries := make(map[string]InterMapEntry)
	var broken EntryErrors
	within, number := false, 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		if strings.HasPrefix(line, "----") {
			within = !within
			continue
		}
		if !within {
			continue
		}
		m := interMapLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		entry := InterMapEntry{m[1], strings.TrimSpace(m[2]), strings.TrimSpace(cmp.Or(m[3], m[1]))}
		if len(entries)+len(broken) == mostEntries {
			broken = append(broken, EntryError{number, entry.Prefix, fmt.Errorf("expected %d entries at most: it and those after it are left out", mostEntries)})
			break
		}
		if err := entry.check(); err != nil {
			broken = append(broken, EntryError{number, entry.Prefix, err})
			continue
		}
		entries[strings.ToUpper(entry.Prefix)] = entry
	}
	if broken != nil {
		return entries, broken
	}
	return entries, nil
}

// check refuses an entry of which a short link would become a long one.
func (e InterMapEntry) check() error {
	if len(e.Prefix) > mostPrefix {
		return fmt.Errorf("the prefix has %d bytes: expected %d at most", len(e.Prefix), mostPrefix)
	}
	for _, part := range []struct{ what, text string }{{"URL", e.URL}, {"title", e.Title}} {
		if len(part.text) > mostAddress {
			return fmt.Errorf("the %s has %d bytes: expected %d at most", part.what, len(part.text), mostAddress)
		}
		if n := strings.Count(part.text, "$"); n > mostPlaces {
			return fmt.Errorf("the %s has %d times $: expected %d at most", part.what, n, mostPlaces)
		}
	}
	return nil
}

// splitURL cuts a URL before its query and its fragment, which keep their ? and
// #, as Trac's split_url_into_path_query_fragment does.
func splitURL(url string) (path, query, fragment string) {
	if i := strings.IndexByte(url, '#'); i >= 0 {
		url, fragment = url[:i], url[i:]
	}
	if i := strings.IndexByte(url, '?'); i >= 0 {
		url, query = url[:i], url[i:]
	}
	return url, query, fragment
}

// place returns the number of the place $0 to $9 that s begins with.
func place(s string) (n int, ok bool) {
	if len(s) < 2 || s[0] != '$' || s[1] < '0' || s[1] > '9' {
		return 0, false
	}
	return int(s[1] - '0'), true
}

// places returns the highest number of a place in s.
func places(s string) (highest int) {
	for i := range len(s) {
		n, _ := place(s[i:])
		highest = max(highest, n)
	}
	return highest
}

// expand puts parts into the places of s. There is nothing to put into $0. ok is false,
// and nothing is built, if that is longer than mostExpanded.
func expand(s string, parts []string) (expanded string, ok bool) {
	length := 0
	for piece := range pieces(s, parts) {
		length += len(piece)
	}
	if length > mostExpanded {
		return "", false
	}
	var b strings.Builder
	b.Grow(length)
	for piece := range pieces(s, parts) {
		b.WriteString(piece)
	}
	return b.String(), true
}

// pieces iterates over what s consists of, with parts in its places.
func pieces(s string, parts []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		begin := 0
		for i := 0; i < len(s); i++ {
			n, ok := place(s[i:])
			if !ok {
				continue
			}
			if !yield(s[begin:i]) {
				return
			}
			if 0 < n && n <= len(parts) && !yield(parts[n-1]) {
				return
			}
			i++
			begin = i + 1
		}
		yield(s[begin:])
	}
}
