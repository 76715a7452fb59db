package guard

import (
	"bytes"
	"strconv"
)

// hold keeps bytes of an error until it is whole. It returns how many of b it
// took.
func (c *Conn) hold(b []byte) (n int, whole bool, fault *Violation) {
	limit := c.parser.limits.Line
	for n < len(b) {
		if size, known := c.errorSize(); known {
			more := min(size-len(c.held), len(b)-n)
			c.held = append(c.held, b[n:n+more]...)
			n += more
			return n, len(c.held) == size, nil
		}
		end := bytes.IndexByte(b[n:], '\n') + 1
		ends := end > 0
		if !ends {
			end = len(b) - n
		}
		if len(c.held)+end > limit+len("\r\n") {
			return n, false, tooLong("an error", limit)
		}
		c.held = append(c.held, b[n:n+end]...)
		n += end
		if !ends {
			return n, false, nil
		}
		if fault := c.checkLine(); fault != nil {
			return n, false, fault
		}
		if size, known := c.errorSize(); !known || size == len(c.held) {
			return n, true, nil
		}
	}
	return n, false, nil
}

// errorSize returns the size of an error of announced length, if its first line
// is there.
func (c *Conn) errorSize() (size int, known bool) {
	if len(c.held) == 0 || c.held[0] != '!' {
		return 0, false
	}
	line, _, found := bytes.Cut(c.held, []byte("\r\n"))
	if !found {
		return 0, false
	}
	length, _ := strconv.Atoi(string(line[1:]))
	if length < 0 {
		return len(line) + len("\r\n"), true
	}
	return len(line) + len("\r\n") + length + len("\r\n"), true
}

// checkLine checks the line that has just ended.
func (c *Conn) checkLine() *Violation {
	line, ok := bytes.CutSuffix(c.held, []byte("\r\n"))
	switch {
	case !ok:
		return brokenLine()
	case line[0] == '-':
		return nil
	}
	digits := string(line[1:])
	length, err := strconv.Atoi(digits)
	switch {
	case digits == "-1":
		return nil
	case err != nil || digits[0] == '+' || digits[0] == '-':
		return &Violation{Sent: "an error whose length is no number", Expected: "a number"}
	case length > c.parser.limits.Line:
		return tooLong("an error", c.parser.limits.Line)
	}
	return nil
}
