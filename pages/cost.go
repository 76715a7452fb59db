package pages

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What the page BadContent can cost at most. A search takes some 10 ns for each
// instruction of an expression's program and each character of the text.
const (
	mostBadContent = 256 << 10 // bytes of all expressions
	mostPatterns   = 5000      // lines of it that are no empty ones
	mostPattern    = 1000      // bytes of one
	mostProgram    = 500       // instructions of one
	mostPrograms   = 20_000    // of all, and 10 for each
	mostFolded     = 200_000   // characters in the ranges of one
	mostFoldedAll  = 2_000_000 // of all
)

// budget is what the expressions of a page may cost yet.
type budget struct{ programs, folded int }

func newBudget() *budget { return &budget{mostPrograms, mostFoldedAll} }

// spend takes what an expression costs, or says what is too much of it.
func (b *budget) spend(program, folded int) error {
	switch {
	case folded > mostFolded:
		return fmt.Errorf("its ranges have %d characters: expected %d at most", folded, mostFolded)
	case folded > b.folded:
		return fmt.Errorf("its ranges, with those of the lines before it, have more than %d characters", mostFoldedAll)
	case program > mostProgram:
		return fmt.Errorf("a search for it would take %d instructions for each character: expected %d at most", program, mostProgram)
	case program > b.programs:
		return fmt.Errorf("a search for it, and for the lines before it, would take more than %d instructions for each character", mostPrograms)
	}
	b.programs, b.folded = b.programs-program, b.folded-folded
	return nil
}

// programSize returns how many instructions the program of an expression has at most,
// without making it: {1000} makes a thousand of one. A class of many ranges counts for
// several, because it takes their memory.
func programSize(re *syntax.Regexp) int {
	size := 0
	for _, sub := range re.Sub {
		size += programSize(sub)
	}
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune)
	case syntax.OpCharClass:
		return 1 + len(re.Rune)/16
	case syntax.OpConcat:
		return size
	case syntax.OpAlternate:
		return size + len(re.Sub)
	case syntax.OpCapture, syntax.OpStar:
		return size + 2
	case syntax.OpPlus, syntax.OpQuest:
		return size + 1
	case syntax.OpRepeat:
		if re.Max < 0 {
			return max(re.Min, 1)*size + 2
		}
		return max(re.Max, 1)*(size+1) + 2
	}
	return 1
}

// namedClass is what a class such as \pL, which Python does not have, counts for.
const namedClass = 20_000

// mostFold is the last character that has an upper and a lower case.
const mostFold = 0x1e943

// folded returns how many characters the ranges of a class have, which is one of Go's:
// where upper and lower case are the same, the compiler looks at each, but not in a
// range that has all letters.
func folded(class string) (n int) {
	class = strings.TrimPrefix(strings.TrimPrefix(class, "["), "^")
	from := rune(-1) // of a range, if it is one
	for class != "" {
		c, size := inClass(class)
		if from >= 0 && c == '-' && size == 1 && len(class) > 1 && class[1] != ']' {
			to, toSize := inClass(class[1:])
			if from > 'A' || to < mostFold {
				n += max(0, int(to-from))
			}
			c, size = -1, 1+toSize
		}
		from, class = c, class[size:]
	}
	return n
}

var numbered = regexp.MustCompile(`^\\x(?:\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{2}))`)

// inClass returns the character that a class of Go's goes on with, or -1 for a class in
// it, such as \d.
func inClass(class string) (c rune, size int) {
	if class[0] != '\\' {
		return utf8.DecodeRuneInString(class)
	}
	if m := numbered.FindStringSubmatch(class); m != nil {
		n, _ := strconv.ParseInt(m[1]+m[2], 16, 32)
		return rune(n), len(m[0])
	}
	c, size = utf8.DecodeRuneInString(class[1:])
	if strings.ContainsRune("dDsSwWpP", c) {
		c = -1
	}
	return c, 1 + size
}
