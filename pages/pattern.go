package pages

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// Pattern is an expression of the page [BadContent].
type Pattern struct {
	written string
	// literal is what the expression means if that is a text and no more. It needs no
	// program.
	literal string
	whole   *program
	// cut is for a text without its last newline, before which Python's $ matches
	// too. It is nil if the expression has no $.
	cut *program
}

// String returns the expression as it is written on the page.
func (p Pattern) String() string { return p.written }

// Match says whether the expression matches anywhere in text. Any goroutine may call
// it. It returns the error of ctx soon after ctx has ended, and knows no other.
func (p Pattern) Match(ctx context.Context, text string) (bool, error) {
	if p.whole == nil {
		return strings.Contains(text, p.literal), ctx.Err()
	}
	found, err := p.whole.match(ctx, text)
	rest, ends := strings.CutSuffix(text, "\n")
	if found || err != nil || !ends || p.cut == nil {
		return found, err
	}
	return p.cut.match(ctx, rest)
}

// compilePattern compiles an expression of Python's. An error says what of it Go's
// regular expressions do not have, what is wrong with it, or what would cost too much.
func compilePattern(written string, left *budget) (p Pattern, err error) {
	p.written = written
	if len(written) > mostPattern {
		return p, fmt.Errorf("it has %d bytes: expected %d at most", len(written), mostPattern)
	}
	python := translation{in: written}
	text, err := python.translate()
	if err != nil {
		return p, err
	}
	if p.literal, p.whole, err = compile(text, python.folded, left); err != nil || !python.dollar {
		return p, err
	}
	python = translation{in: written, cut: true}
	if text, err = python.translate(); err == nil {
		_, p.cut, err = compile(text, python.folded, left)
	}
	return p, err
}

// compile returns the program of an expression of Go's, if it costs no more than is
// left. An expression that is a text has none.
func compile(text string, folded int, left *budget) (literal string, _ *program, err error) {
	if err := left.spend(0, folded); err != nil {
		return "", nil, err
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return "", nil, err
	}
	if parsed.Op == syntax.OpLiteral && parsed.Flags&syntax.FoldCase == 0 {
		if literal = string(parsed.Rune); !strings.ContainsRune(literal, utf8.RuneError) { // which bytes match that are no UTF-8
			return literal, nil, left.spend(1, 0)
		}
	}
	size := programSize(parsed)
	if err := left.spend(size, 0); err != nil {
		return "", nil, err
	}
	if err := left.spend(10, 0); err != nil {
		return "", nil, err
	}
	expression, err := regexp.Compile(text)
	if err != nil {
		return "", nil, err
	}
	return "", &program{expression, size}, nil
}

// program is what is searched for.
type program struct {
	expression *regexp.Regexp
	size       int // in instructions
}

// mostSteps is how many instructions of a search, some 0.2 s, are not interrupted.
const mostSteps = 16 << 20

// match says whether the program matches anywhere in text. If that could take long,
// the program reads the text by characters, and is told that the text ends when ctx
// does. It is slower then: it cannot skip to where a match may begin.
func (p *program) match(ctx context.Context, text string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if p.size*len(text) <= mostSteps {
		return p.expression.MatchString(text), nil
	}
	r := interruptible{ctx: ctx, text: text, every: max(1, mostSteps/p.size)}
	found := p.expression.MatchReader(&r)
	return found && r.err == nil, r.err
}

// interruptible reads a text until a context ends.
type interruptible struct {
	ctx   context.Context
	text  string
	every int // bytes from one look at ctx to the next
	read  int // bytes since
	err   error
}

// ReadRune implements [io.RuneReader].
func (r *interruptible) ReadRune() (c rune, size int, err error) {
	if r.read >= r.every {
		r.read, r.err = 0, r.ctx.Err()
	}
	if r.err != nil || r.text == "" {
		return 0, 0, io.EOF
	}
	c, size = utf8.DecodeRuneInString(r.text)
	r.text = r.text[size:]
	r.read += size
	return c, size, nil
}
