package guard

import (
	"bytes"
	"fmt"
)

// parser follows an answer in RESP2 or RESP3, in whatever pieces it comes. It
// keeps no byte of it. Where it would see another structure than go-redis, it
// finds a fault.
type parser struct {
	limits Limits

	offset   int // of the piece that is looked at
	began    int // offset of the answer
	elements int // that the answer has announced
	between  bool

	skip  int  // bytes of a string that are to come, with the end of its line
	kind  byte // of the line that was begun, or 0
	value int  // that it has so far; negative ones but -1 are not honest
	state lineState
	taken int // length of the line so far

	stack []level
}

// lineState is where in a line the parser is.
type lineState byte

const (
	lineBegins  lineState = iota // only the kind is known
	lineMinus                    // "-" in the place of a length
	lineNil                      // "-1"
	lineStreams                  // "?": what comes ends with a mark
	lineDigits
	lineReturn // "\r"
)

// level is a list, set, map or attribute that was begun.
type level struct {
	left int // elements to come, or endsMarked
	kind byte
	sum  int // of the pieces of a string that comes in pieces
}

// endsMarked is what is left of a list whose end is marked.
const endsMarked = -1

func newParser(limits Limits) parser {
	return parser{limits: limits, between: true, stack: make([]level, 0, 8)}
}

// scan looks at what comes next. It stops before an error, and at a fault;
// otherwise n is len(b).
func (p *parser) scan(b []byte) (n int, fault *Violation) {
	defer func() { p.offset += n }()
	for i := 0; i < len(b); {
		switch {
		case p.skip > 0:
			more := min(p.skip, len(b)-i)
			i += more
			if p.skip -= more; p.skip == 0 {
				p.elementEnds()
			}
		case p.kind != 0:
			i, fault = p.line(b, i)
		case (b[i] == '-' || b[i] == '!') && p.mayBeElement():
			return i, p.answerGoesOn(p.offset + i)
		default:
			if next := p.run(b, i); next > i {
				i = next
			} else if fault = p.begin(b[i], p.offset+i); fault == nil {
				i, fault = p.line(b, i+1)
			}
		}
		if fault != nil {
			return min(i, len(b)), fault
		}
	}
	return len(b), nil
}

// run is the short way past strings and lists that are short and here with their lengths,
// within an answer, and past numbers that are answers: most of what comes is these. It
// returns where something else begins, with which it has done nothing.
func (p *parser) run(b []byte, i int) int {
	for p.between && i+len(":123\r\n") <= len(b) && b[i] == ':' {
		_, size := short((*[5]byte)(b[i+1:]))
		if size == 0 {
			return i
		}
		i += 1 + size
	}
	most := min(len(b), p.limits.Answer-p.offset+p.began) // where the answer has to end
	for !p.between && len(p.stack) > 0 && p.limits.Bulk > 999 {
		top := &p.stack[len(p.stack)-1]
		left := top.left
		for left > 0 && i+len("$123\r\n") <= len(b) && b[i] == '$' {
			value, size := short((*[5]byte)(b[i+1:]))
			end := i + 1 + size + value + len("\r\n")
			if size == 0 || end > most {
				break
			}
			i = end
			left--
		}
		if left == 0 {
			top.left = 1
			p.elementEnds()
			continue
		}
		top.left = left
		if left < 0 || i+len("*123\r\n") > most || b[i] != '*' {
			return i
		}
		value, size := short((*[5]byte)(b[i+1:]))
		if value == 0 || p.elements+value > p.limits.Elements || len(p.stack) >= p.limits.Depth {
			return i
		}
		p.elements += value
		p.stack = append(p.stack, level{left: value, kind: '*'})
		i += 1 + size
	}
	return i
}

// short reads a line of one to three digits, and returns of how many bytes it is: 0 if
// there is anything else. It is written out, because it is most of what the guard costs.
func short(line *[5]byte) (value, size int) {
	one, two, three := line[0]-'0', line[1]-'0', line[2]-'0'
	switch {
	case line[1] == '\r' && line[2] == '\n' && one <= 9:
		return int(one), 3
	case line[2] == '\r' && line[3] == '\n' && one <= 9 && two <= 9:
		return int(one)*10 + int(two), 4
	case line[3] == '\r' && line[4] == '\n' && one <= 9 && two <= 9 && three <= 9:
		return int(one)*100 + int(two)*10 + int(three), 5
	}
	return 0, 0
}

// skipError goes on after an error of so many bytes.
func (p *parser) skipError(size int) {
	p.offset += size
	p.elementEnds()
}

// begin begins a line.
func (p *parser) begin(kind byte, offset int) *Violation {
	switch kind {
	case '+', ':', ',', '(', '#', '_', '$', '=', '*', '~', '%', '>', '|', ';', '.':
	default:
		return foreign(kind, offset == 0)
	}
	if inPieces := len(p.stack) > 0 && p.stack[len(p.stack)-1].kind == '$'; inPieces != (kind == ';') {
		return &Violation{Sent: fmt.Sprintf("%q in the wrong place", kind), Expected: "the next piece of a string after ';'"}
	}
	if kind == '.' && (len(p.stack) == 0 || p.stack[len(p.stack)-1].left != endsMarked) {
		return &Violation{Sent: "the end of a list", Expected: "an answer"}
	}
	p.kind, p.value, p.state, p.taken = kind, 0, lineBegins, 0
	return p.answerGoesOn(offset)
}

// mayBeElement says that no piece of a string has to come.
func (p *parser) mayBeElement() bool {
	return len(p.stack) == 0 || p.stack[len(p.stack)-1].kind != '$'
}

// answerGoesOn notes at which offset.
func (p *parser) answerGoesOn(offset int) *Violation {
	if p.between {
		p.between, p.began, p.elements = false, offset, 0
	}
	return p.checkAnswer(offset)
}

func (p *parser) checkAnswer(end int) *Violation {
	switch {
	case end-p.began > p.limits.Answer:
		fault := tooLong("an answer", p.limits.Answer)
		fault.Sent, fault.Large = fmt.Sprintf("%s (%d at least)", fault.Sent, end-p.began), true
		return fault
	case p.elements > p.limits.Elements: // of a list whose end is marked
		return p.tooMuch(p.elements, true)
	}
	return nil
}

// line goes on in a line at b[i], and returns where it goes on after that.
func (p *parser) line(b []byte, i int) (int, *Violation) {
	switch p.kind {
	case '$', '=', '*', '~', '%', '>', '|', ';':
		return p.length(b, i)
	case '+':
		return p.text(b, i)
	}
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case p.state == lineReturn && c == '\n':
			p.lineEnds()
			return i + 1, nil
		case p.state != lineReturn && c == '\r':
			p.state = lineReturn
		case p.state == lineReturn || !inNumber(p.kind, c):
			return i, &Violation{Sent: fmt.Sprintf("an answer of kind %q that is none", p.kind), Expected: "a number or another short value"}
		default:
			if p.taken++; p.taken > p.limits.Line {
				return i, tooLong("a line", p.limits.Line)
			}
		}
	}
	return i, nil
}

// inNumber says whether a character may be in a value of a kind.
func inNumber(kind, c byte) bool {
	switch kind {
	case ':', '(':
		return '0' <= c && c <= '9' || c == '-' || c == '+'
	case ',':
		return '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E' ||
			c == 'i' || c == 'n' || c == 'f' || c == 'a'
	case '#':
		return c == 't' || c == 'f'
	}
	return false // of a nil and an end
}

// text goes on in a line of text.
func (p *parser) text(b []byte, i int) (int, *Violation) {
	end := bytes.IndexByte(b[i:], '\n')
	size := end
	if end < 0 {
		size = len(b) - i
	}
	if p.taken += size; p.taken > p.limits.Line+1 {
		return i, tooLong("a line", p.limits.Line)
	}
	if size > 0 {
		p.state = lineBegins
		if b[i+size-1] == '\r' {
			p.state = lineReturn
		}
	}
	if end < 0 {
		return len(b), nil
	}
	if p.state != lineReturn {
		return i, brokenLine()
	}
	p.lineEnds()
	return i + size + 1, nil
}

// lineEnds goes on after a value of one line.
func (p *parser) lineEnds() {
	if p.kind == '.' {
		p.levelEnds()
		return
	}
	p.kind = 0
	p.elementEnds()
}

// length goes on in a line that says how much comes.
func (p *parser) length(b []byte, i int) (int, *Violation) {
	value, state := p.value, p.state
	for ; i < len(b); i++ {
		c := b[i]
		switch {
		case '0' <= c && c <= '9' && state <= lineDigits && state != lineNil && state != lineStreams:
			if state == lineMinus {
				if c != '1' {
					return i, badLength(p.kind)
				}
				state = lineNil
				continue
			}
			state, value = lineDigits, value*10+int(c-'0')
			if value > maxLength {
				return i, p.tooMuch(value, true)
			} else if p.taken++; p.taken > maxDigits {
				return i, badLength(p.kind)
			}
		case c == '\r' && state > lineMinus && state < lineReturn:
			switch state {
			case lineNil:
				value = nilLength
			case lineStreams:
				value = streamLength
			}
			state = lineReturn
		case c == '\n' && state == lineReturn:
			if fault := p.lengthIs(value, p.offset+i+1); fault != nil {
				return i, fault // the client must not see that the line ends
			}
			return i + 1, nil
		case c == '-' && state == lineBegins && p.kind != ';':
			state = lineMinus
		case c == '?' && state == lineBegins && p.kind != ';' && p.kind != '=':
			state = lineStreams
		default:
			return i, badLength(p.kind)
		}
	}
	p.value, p.state = value, state
	return i, nil
}

// maxLength is more than any limit, and far from an overflow. maxDigits is more
// than it has. nilLength and streamLength stand for what is no number.
const (
	maxLength    = 1 << 40
	maxDigits    = 20
	nilLength    = -1
	streamLength = -2
)

// lengthIs goes on after the line of a length, which ends at an offset.
func (p *parser) lengthIs(value, end int) *Violation {
	if value == streamLength {
		return p.push(level{left: endsMarked, kind: p.kind})
	}
	kind := p.kind
	switch kind {
	case '$', '=', ';':
		switch {
		case value == nilLength:
			p.kind = 0
			p.elementEnds()
			return nil
		case value > p.limits.Bulk:
			return p.tooMuch(value, false)
		case kind == ';':
			if value == 0 {
				p.levelEnds()
				return nil
			}
			top := &p.stack[len(p.stack)-1]
			if top.sum += value; top.sum > p.limits.Bulk {
				return p.tooMuch(top.sum, false)
			}
		}
		p.kind, p.skip = 0, value+len("\r\n")
		return p.checkAnswer(end + p.skip)
	}
	if value <= 0 {
		p.kind = 0
		if kind != '|' {
			p.elementEnds()
		}
		return nil
	}
	elements := value
	if kind == '%' || kind == '|' {
		elements *= 2
	}
	if p.elements += elements; p.elements > p.limits.Elements {
		return p.tooMuch(value, false)
	}
	return p.push(level{left: elements, kind: kind})
}

// push begins a level.
func (p *parser) push(l level) *Violation {
	if len(p.stack) >= p.limits.Depth {
		return &Violation{Sent: fmt.Sprintf("lists in lists, %d deep", len(p.stack)+1), Expected: fmt.Sprintf("%d at most", p.limits.Depth)}
	}
	p.stack, p.kind = append(p.stack, l), 0
	return nil
}

// levelEnds ends the level at which the parser is.
func (p *parser) levelEnds() {
	kind := p.stack[len(p.stack)-1].kind
	p.stack, p.kind = p.stack[:len(p.stack)-1], 0
	if kind != '|' { // an attribute belongs to the element that comes after it
		p.elementEnds()
	}
}

// elementEnds counts an element, and ends what was complete with it.
func (p *parser) elementEnds() {
	kind := byte(0)
	for len(p.stack) > 0 {
		top := &p.stack[len(p.stack)-1]
		if top.left == endsMarked {
			if top.kind != '$' { // a piece of a string is none
				p.elements++ // checked with the next length
			}
			return
		}
		if top.left--; top.left > 0 {
			return
		}
		kind = top.kind
		p.stack = p.stack[:len(p.stack)-1]
		if kind == '|' {
			return
		}
	}
	p.between = kind != '>' || p.limits.Subscribed
}
