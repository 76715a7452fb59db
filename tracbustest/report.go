package tracbustest

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
)

// T is what a check needs of a test: *testing.T has it. A program that is no test, or a
// test that expects a failure, passes something of its own. Its methods are called by one
// goroutine at a time, the one that called the check.
type T interface {
	Helper()
	// Context bounds the check as a whole.
	Context() context.Context
	// Logf takes what is no failure, such as what could not be checked and why.
	Logf(format string, args ...any)
	// Errorf takes one failure. The check goes on after it.
	Errorf(format string, args ...any)
}

// promise is one part of a contract.
type promise struct {
	name     string // of the case, in a few words
	contract string // what is promised, as a sentence
	why      string // what goes wrong for somebody if it is broken
}

// report tells a test which promises are broken.
type report struct {
	t    T
	what string // is checked
}

// broken says that a promise is broken, and what was seen.
func (r report) broken(p promise, format string, args ...any) {
	r.t.Helper()
	r.t.Errorf("%s: %s\n\tcontract: %s\n\twhy: %s\n\tseen: %s", r.what, p.name, p.contract, p.why,
		strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\n\t      "))
}

// guarded calls f, and returns what it panicked with as an error.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicked{p, debug.Stack()}
		}
	}()
	return f()
}

// panicked is a panic of the code that is checked.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }
