package pages

import (
	"context"
	"fmt"
	"strings"

	"github.com/tracbus/tracbus/internal/plain"
)

// BadContent is what the page BadContent forbids: regular expressions, one a line,
// between its first "{{{" and the next "}}}". It does what the filter
// RegexFilterStrategy of TracSpamFilter does: spaces around an expression and
// empty lines do not count, there are no comments, and a page without such a block
// forbids nothing.
//
// The expressions are Python's, as far as Go has them: there is no look-around, no
// back-reference, no atomic group and no character by its name, \d \w \s \b are ASCII,
// and nothing can follow a $. An expression that cannot be compiled or would cost too
// much is left out, and the others are used: the log and Err have [PatternErrors], which
// list each of them. Have [CheckBadContent] refuse such a page before it is saved, as
// TracSpamFilter does.
//
// The time of a search grows with the length of the text and with the sizes of the
// expressions, of which one with {1000} is large. An expression can have 1,000 bytes and
// 500 instructions when it is compiled, all together 20,000, ten of which each costs
// beside its own; one that is a text, such as example\.com, costs one. The page can
// have 5,000 expressions, of 256 KiB in all. With all of that, a search of 64 KiB can still
// take many seconds: give it a context with a deadline, and bound the text.
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
// what was sent.) Any goroutine may call it. It waits for nothing, and returns the
// error of ctx soon after ctx has ended: then the text was not searched for all
// expressions.
func (b *BadContent) Match(ctx context.Context, text string) (pattern string, bad bool, err error) {
	for _, p := range b.Get() {
		if bad, err := p.Match(ctx, text); bad || err != nil {
			return p.String(), bad, err
		}
	}
	return "", false, nil
}

// CheckBadContent says what [BadContent] cannot use of a page's text: it returns nil
// or [PatternErrors]. An application calls it to refuse an edit of the page.
func CheckBadContent(text string) error {
	_, err := parseBadContent(text)
	return err
}

// PatternErrors are the lines of the page [BadContent] that cannot be compiled or would
// cost too much.
// [errors.As] finds them in its Err and in what [CheckBadContent] returns.
type PatternErrors []PatternError

// PatternError is a line of the page [BadContent] that cannot be compiled or would cost
// too much.
type PatternError struct {
	Line    int    // of the page, from 1
	Pattern string // as it is written there
	Err     error  // what is wrong with it
}

// Error names the first ten lines with their patterns and what is wrong with them, and
// how many others there are.
func (e PatternErrors) Error() string {
	return firstOf(e, func(p PatternError) string {
		return plain.Line(fmt.Sprintf("line %d: pattern %.200q: %v", p.Line, p.Pattern, p.Err)) // whose Err has it as it is written
	})
}

// parseBadContent returns the patterns that can be used, and PatternErrors if there are
// others. Where there are too many, one error stands for all the rest.
func parseBadContent(text string) ([]Pattern, error) {
	before, block, _ := strings.Cut(text, "{{{")
	block, _, closed := strings.Cut(block, "}}}")
	if !closed && !strings.Contains(before, "}}}") {
		return nil, nil
	}
	var patterns []Pattern
	var broken PatternErrors
	line, left := strings.Count(before, "\n"), newBudget()
	read := 0
	for pattern := range strings.SplitSeq(block, "\n") {
		line++
		if pattern = strings.TrimSpace(pattern); pattern == "" {
			continue
		}
		if read += len(pattern); len(patterns)+len(broken) == mostPatterns || read > mostBadContent {
			broken = append(broken, PatternError{line, pattern, fmt.Errorf("expected %d expressions and %d KiB of them at most: it and those after it are left out", mostPatterns, mostBadContent>>10)})
			break
		}
		p, err := compilePattern(pattern, left)
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
