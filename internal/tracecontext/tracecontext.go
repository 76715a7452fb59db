// Package tracecontext knows which texts name a request that is traced: those of the W3C
// recommendation Trace Context (https://www.w3.org/TR/trace-context/). What it reads may have been
// written by anybody, so that everything else becomes nothing, in bounded time, and is no error:
// a trace is never a reason not to deliver a change.
package tracecontext

import "strings"

// Context is the trace that something belongs to, as the headers traceparent and tracestate
// have it. The zero Context is none.
type Context struct{ Parent, State string }

const (
	parentLen = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	traceEnd  = len("00-0af7651916cd43dd8448eb211c80319c")
	spanEnd   = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331")

	// maxState is what the recommendation (3.3.1.5) has everybody pass on at least.
	maxState = 512
)

// Valid returns c without what is malformed. A state says nothing without its parent.
func (c Context) Valid() Context {
	if !isParent(c.Parent) {
		return Context{}
	}
	if !isState(c.State) {
		c.State = ""
	}
	return c
}

// isParent says whether s is a traceparent of version 00, or what that version has in common with
// later ones (3.2.2.3).
func isParent(s string) bool {
	if len(s) != parentLen || s[2] != '-' || s[traceEnd] != '-' || s[spanEnd] != '-' || s[:2] == "ff" {
		return false
	}
	return isHex(s[:2]) && isID(s[3:traceEnd]) && isID(s[traceEnd+1:spanEnd]) && isHex(s[spanEnd+1:])
}

// isID says whether s is the id of a trace or a span: zeros alone are none.
func isID(s string) bool { return isHex(s) && strings.Trim(s, "0") != "" }

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isState says whether s can be a tracestate: short, and of ASCII that can be printed. What its
// members say is the tracing system's.
func isState(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= maxState
}

// Text returns c in one text: the parent, and after a space the state, if there is one.
func (c Context) Text() string {
	if c.State == "" {
		return c.Parent
	}
	return c.Parent + " " + c.State
}

// Parse returns the Context of a text, or none.
func Parse(text string) Context {
	parent, state, _ := strings.Cut(text, " ")
	return Context{parent, state}.Valid()
}
