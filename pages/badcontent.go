package pages

import (
	"fmt"
	"strings"
)

// BadContent is what the page BadContent forbids: regular expressions, one a line,
// between its first "{{{" and the next "}}}". It does what the filter
// RegexFilterStrategy of TracSpamFilter does: spaces around an expression and
// empty lines do not count, there are no comments, and a page without such a block
// forbids nothing.
//
// The expressions are Python's, as far as Go can search for them in a time that is
// bounded by the lengths of expression and text: there is no look-around, no
// back-reference, no atomic group and no character by its name, \d \w \s \b are ASCII,
// and nothing can follow a $. An expression that cannot be compiled is left out, and
// the others are used: the log and Err have [PatternErrors], which list each of them.
// Have [CheckBadContent] refuse such a page before it is saved, as TracSpamFilter does.
type BadContent struct {
	// Value is a list of the expressions in their order.
	*Value[[]Pattern]
}

// NewBadContent returns a list that is empty until it is loaded: register it as a
// [tracbus.WikiListener] with the scope [tracbus.Everywhere].
func NewBadContent(config Config) *BadContent {
	v := NewValue("BadContent", parseBadContent, config)
	v.partial = true
	return &BadContent{v}
}

// Match returns the first expression that matches anywhere in text, as it is
// written on the page. (The original's text is the author's name, a newline, and
// what was sent.) Any goroutine may call it; it never waits.
func (b *BadContent) Match(text string) (pattern string, bad bool) {
	for _, p := range b.Get() {
		if p.Match(text) {
			return p.String(), true
		}
	}
	return "", false
}

// CheckBadContent says what [BadContent] cannot use of a page's text: it returns nil
// or [PatternErrors]. An application calls it to refuse an edit of the page.
func CheckBadContent(text string) error {
	_, err := parseBadContent(text)
	return err
}

// PatternErrors are the lines of the page [BadContent] that cannot be compiled.
// [errors.As] finds them in its Err and in what [CheckBadContent] returns.
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

// parseBadContent returns the patterns that can be compiled, and PatternErrors if there
// are others.
func parseBadContent(text string) ([]Pattern, error) {
	before, block, _ := strings.Cut(text, "{{{")
	block, _, closed := strings.Cut(block, "}}}")
	if !closed && !strings.Contains(before, "}}}") {
		return nil, nil
	}
	var patterns []Pattern
	var broken PatternErrors
	line := strings.Count(before, "\n")
	for pattern := range strings.SplitSeq(block, "\n") {
		line++
		if pattern = strings.TrimSpace(pattern); pattern == "" {
			continue
		}
		p, err := compilePattern(pattern)
		if err != nil {
			broken = append(broken, PatternError{line, pattern, err})
			continue
		}
		patterns = append(patterns, p)
	}
	if broken != nil {
		return patterns, broken
	}
	return patterns, nil
}
