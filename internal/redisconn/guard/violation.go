package guard

import "fmt"

func tooLong(what string, limit int) *Violation {
	return &Violation{Sent: fmt.Sprintf("%s of more than %d bytes", what, limit), Expected: "less"}
}

func brokenLine() *Violation {
	return &Violation{Sent: "a line with a line feed in it", Expected: "lines that end with a carriage return and a line feed"}
}

func badLength(kind byte) *Violation {
	return &Violation{Sent: fmt.Sprintf("a length after %q that is no number", kind), Expected: "a number"}
}

// tooMuch is the violation of a length. If more, it has more digits.
func (p *parser) tooMuch(value int, more bool) *Violation {
	length := fmt.Sprint(value)
	if more {
		length += "…"
	}
	switch p.kind {
	case '$', '=', ';':
		return &Violation{Sent: "a string of " + length + " bytes", Expected: fmt.Sprintf("%d at most", p.limits.Bulk), Large: true}
	}
	return &Violation{Sent: "a list or map of " + length + " elements", Expected: fmt.Sprintf("%d in one answer at most", p.limits.Elements), Large: true}
}

// foreign is the violation of a byte that begins no answer. A server's first one
// tells what it is.
func foreign(begins byte, first bool) *Violation {
	v := &Violation{Sent: fmt.Sprintf("an answer that begins with %q", begins), Expected: "one of Redis", Foreign: first}
	switch {
	case first && begins == 'H':
		v.Sent += ", as those of HTTP do"
	case first && begins == 0x15:
		v.Sent, v.Expected = "an alert of TLS", "one of Redis: the port wants TLS (option tls = enabled)"
	}
	return v
}
