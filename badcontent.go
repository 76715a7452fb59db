package tracbus

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// BadContent is what the page BadContent forbids: regular expressions, one to a
// line, between its first "{{{" and the "}}}" after it. It follows the filter
// RegexFilterStrategy of TracSpamFilter: spaces round an expression and empty
// lines do not count, there are no comments, and a page without such a block
// forbids nothing.
//
// The expressions are Go's, not Python's: none can take long, but there is no
// look-around and no back-reference, and \d \w \s \b are ASCII. Where one is
// broken the page is not used: the last good version stays, and [BadPatterns] in
// the log and in Err tells each of them. See [PageValue].
type BadContent struct {
	// PageValue keeps the expressions in their order.
	*PageValue[[]*regexp.Regexp]
}

// NewBadContent returns an empty list, until it is loaded: register it as a
// [WikiListener] with the scope [Everywhere].
func NewBadContent(config PagesConfig) *BadContent {
	return &BadContent{NewPageValue("BadContent", parseBadContent, config)}
}

// Match returns the first expression that is found anywhere in text, as it stands
// on the page. (The original's text is what was sent, behind the name of its
// author and a newline.) It may be called by any goroutine, and waits for none.
func (b *BadContent) Match(text string) (pattern string, bad bool) {
	for _, re := range b.Get() {
		if found(re, text) {
			return re.String(), true
		}
	}
	return "", false
}

// found is Python's re.search, where $ is also before a last newline.
func found(re *regexp.Regexp, text string) bool {
	if re.MatchString(text) {
		return true
	}
	rest, cut := strings.CutSuffix(text, "\n")
	return cut && strings.Contains(re.String(), "$") && re.MatchString(rest)
}

// BadPatterns are the broken lines of the page [BadContent]: its Err has them
// for [errors.As].
type BadPatterns []BadPattern

// BadPattern is a broken line of the page [BadContent].
type BadPattern struct {
	Line    int // of the page, from 1
	Pattern string
	Err     error
}

// Error names each line with its pattern and what is wrong with it.
func (e BadPatterns) Error() string {
	var s strings.Builder
	for i, p := range e {
		if i > 0 {
			s.WriteString("; ")
		}
		fmt.Fprintf(&s, "line %d: pattern %.200q: %v", p.Line, p.Pattern, p.Err)
	}
	return s.String()
}

// parseBadContent returns a BadPatterns if a pattern is broken.
func parseBadContent(text string) ([]*regexp.Regexp, error) {
	before, block, _ := strings.Cut(text, "{{{")
	block, _, closed := strings.Cut(block, "}}}")
	if !closed && !strings.Contains(before, "}}}") {
		return nil, nil
	}
	var patterns []*regexp.Regexp
	var broken BadPatterns
	line := strings.Count(before, "\n")
	for pattern := range strings.SplitSeq(block, "\n") {
		line++
		if pattern = strings.TrimSpace(pattern); pattern == "" {
			continue
		}
		re, err := compilePattern(pattern)
		if err != nil {
			broken = append(broken, BadPattern{line, pattern, err})
			continue
		}
		patterns = append(patterns, re)
	}
	if broken != nil {
		return nil, broken
	}
	return patterns, nil
}

// countedFromNone is text to Go, and a{0,3} to Python. A backslash or a bracket
// before it may make it text to both.
var countedFromNone = regexp.MustCompile(`[^\\\[]\{,\d+\}`)

// compilePattern says of what Python has and Go has not that it is so.
func compilePattern(pattern string) (*regexp.Regexp, error) {
	if found := countedFromNone.FindString(pattern); found != "" {
		return nil, fmt.Errorf("%s: expected {0%s", found[1:], found[2:])
	}
	re, err := regexp.Compile(pattern)
	var wrong *syntax.Error
	if !errors.As(err, &wrong) {
		return re, err
	}
	switch {
	case wrong.Code == syntax.ErrInvalidPerlOp && (wrong.Expr == "(?=" || wrong.Expr == "(?!"),
		strings.HasPrefix(wrong.Expr, "(?<=") || strings.HasPrefix(wrong.Expr, "(?<!"):
		return nil, fmt.Errorf("look-around, which Go's regular expressions do not have: %w", err)
	case wrong.Code == syntax.ErrInvalidEscape && isReference(wrong.Expr),
		strings.Contains(pattern, "(?P="):
		return nil, fmt.Errorf("back-reference, which Go's regular expressions do not have: %w", err)
	case wrong.Code == syntax.ErrInvalidPerlOp, wrong.Code == syntax.ErrInvalidEscape:
		return nil, fmt.Errorf("not in the syntax of Go's regular expressions (RE2): %w", err)
	}
	return nil, err
}

// isReference says whether an escape is \1 to \9.
func isReference(escape string) bool {
	return len(escape) >= 2 && '1' <= escape[1] && escape[1] <= '9'
}
