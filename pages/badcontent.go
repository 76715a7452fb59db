package pages

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// BadContent is what the page BadContent forbids: regular expressions, one a line,
// between its first "{{{" and the next "}}}". It does what the filter
// RegexFilterStrategy of TracSpamFilter does: spaces around an expression and
// empty lines do not count, there are no comments, and a page without such a block
// forbids nothing.
//
// The expressions are Go's, not Python's: none can take long, but there is no
// look-around and no back-reference, and \d \w \s \b are ASCII. If one cannot be
// compiled, the page is not used: the last good version stays, and the log and Err
// have [PatternErrors], which list each of them. See [Value].
type BadContent struct {
	// Value is a list of the expressions in their order.
	*Value[[]*regexp.Regexp]
}

// NewBadContent returns a list that is empty until it is loaded: register it as a
// [tracbus.WikiListener] with the scope [tracbus.Everywhere].
func NewBadContent(config Config) *BadContent {
	return &BadContent{NewValue("BadContent", parseBadContent, config)}
}

// Match returns the first expression that matches anywhere in text, as it is
// written on the page. (The original's text is the author's name, a newline, and
// what was sent.) Any goroutine may call it; it never waits.
func (b *BadContent) Match(text string) (pattern string, bad bool) {
	for _, re := range b.Get() {
		if found(re, text) {
			return re.String(), true
		}
	}
	return "", false
}

// found is Python's re.search, in which $ also matches before a last newline.
func found(re *regexp.Regexp, text string) bool {
	if re.MatchString(text) {
		return true
	}
	rest, cut := strings.CutSuffix(text, "\n")
	return cut && strings.Contains(re.String(), "$") && re.MatchString(rest)
}

// PatternErrors are the lines of the page [BadContent] that cannot be compiled.
// [errors.As] finds them in its Err.
type PatternErrors []PatternError

// PatternError is a line of the page [BadContent] that cannot be compiled.
type PatternError struct {
	Line    int    // of the page, from 1
	Pattern string // as it is written there
	Err     error  // what is wrong with it
}

// Error names each line with its pattern and what is wrong with it.
func (e PatternErrors) Error() string {
	var s strings.Builder
	for i, p := range e {
		if i > 0 {
			s.WriteString("; ")
		}
		fmt.Fprintf(&s, "line %d: pattern %.200q: %v", p.Line, p.Pattern, p.Err)
	}
	return s.String()
}

// parseBadContent returns a PatternErrors if a pattern cannot be compiled.
func parseBadContent(text string) ([]*regexp.Regexp, error) {
	before, block, _ := strings.Cut(text, "{{{")
	block, _, closed := strings.Cut(block, "}}}")
	if !closed && !strings.Contains(before, "}}}") {
		return nil, nil
	}
	var patterns []*regexp.Regexp
	var broken PatternErrors
	line := strings.Count(before, "\n")
	for pattern := range strings.SplitSeq(block, "\n") {
		line++
		if pattern = strings.TrimSpace(pattern); pattern == "" {
			continue
		}
		re, err := compilePattern(pattern)
		if err != nil {
			broken = append(broken, PatternError{line, pattern, err})
			continue
		}
		patterns = append(patterns, re)
	}
	if broken != nil {
		return nil, broken
	}
	return patterns, nil
}

// countedFromNone is {,3}: text to Go, and {0,3} to Python. After a backslash or a
// bracket it may be text to both.
var countedFromNone = regexp.MustCompile(`[^\\\[]\{,\d+\}`)

// compilePattern compiles a pattern. If it has what only Python supports, the
// error says so.
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
