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
// A line that is not an entry is ignored, so every page can be parsed. See
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
	m := &InterMap{
		Value: NewValue("InterMapTxt", parseInterMap, config.Config),
		safe:  make(map[string]bool),
	}
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

// Expand returns the URL of the link prefix:target, and its title. ok is false if
// there is no such prefix, or if the URL would be empty or have a scheme that is
// not safe, such as javascript.
//
// The URL's $1 to $9 become the parts of target between colons; the last of them
// becomes all that is left, and one without a part becomes empty. If the URL has
// none of them, the target is appended. Then target's ?query is added to the
// URL's, and its #fragment replaces the URL's.
func (m *InterMap) Expand(prefix, target string) (url, title string, ok bool) {
	entry, ok := m.Get()[strings.ToUpper(prefix)]
	if !ok {
		return "", "", false
	}
	target, query, fragment := splitURL(target)
	parts := strings.SplitN(target, ":", max(1, places(entry.URL)))
	url = expand(entry.URL, parts)
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
	title = expand(entry.Title, parts)
	if title == entry.Title {
		title = fmt.Sprintf("%s in %s", target, title)
	}
	return url, title, true
}

// interMapLine is Trac's _interwiki_re, with the LINK_SCHEME of Trac 0.12 to 1.6.
var interMapLine = regexp.MustCompile(`^([a-zA-Z][-a-zA-Z0-9+._]*)[ \t]+([^ \t]+)(?:[ \t]+#(.*))?`)

// parseInterMap never fails.
func parseInterMap(text string) (map[string]InterMapEntry, error) {
	entries := make(map[string]InterMapEntry)
	within := false
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "----") {
			within = !within
			continue
		}
		if !within {
			continue
		}
		if m := interMapLine.FindStringSubmatch(line); m != nil {
			title := strings.TrimSpace(cmp.Or(m[3], m[1]))
			entries[strings.ToUpper(m[1])] = InterMapEntry{m[1], strings.TrimSpace(m[2]), title}
		}
	}
	return entries, nil
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

// expand puts parts into the places of s. There is nothing to put into $0.
func expand(s string, parts []string) string {
	if strings.IndexByte(s, '$') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		n, ok := place(s[i:])
		if !ok {
			b.WriteByte(s[i])
			continue
		}
		if 0 < n && n <= len(parts) {
			b.WriteString(parts[n-1])
		}
		i++
	}
	return b.String()
}
