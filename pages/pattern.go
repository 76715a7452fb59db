package pages

import (
	"regexp"
	"strings"
)

// Pattern is an expression of the page [BadContent].
type Pattern struct {
	written string
	whole   *regexp.Regexp
	// cut is for a text without its last newline, before which Python's $ matches
	// too. It is nil if the expression has no $.
	cut *regexp.Regexp
}

// String returns the expression as it is written on the page.
func (p Pattern) String() string { return p.written }

// Match says whether the expression matches anywhere in text. Any goroutine may call
// it.
func (p Pattern) Match(text string) bool {
	if p.whole.MatchString(text) {
		return true
	}
	rest, ends := strings.CutSuffix(text, "\n")
	return ends && p.cut != nil && p.cut.MatchString(rest)
}

// compilePattern compiles an expression of Python's. An error says what of it Go's
// regular expressions do not have, or what is wrong with it.
func compilePattern(written string) (p Pattern, err error) {
	p.written = written
	python := translation{in: written}
	text, err := python.translate()
	if err != nil {
		return p, err
	}
	if p.whole, err = regexp.Compile(text); err != nil || !python.dollar {
		return p, err
	}
	python = translation{in: written, cut: true}
	if text, err = python.translate(); err == nil {
		p.cut, err = regexp.Compile(text)
	}
	return p, err
}
