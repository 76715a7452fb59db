package stream

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// TIDBits are how many bits of an id's first number are the tid's. The bits above
// them are the generation's.
const TIDBits = 48

// An ID is the id of an entry in a publisher's stream. Its first number has the
// generation in the upper 16 bits and the tid below, its second is the place in
// the transaction. The zero ID lies before all entries.
type ID struct {
	first, second uint64
}

// ParseID reads an id as Redis does: "5" is "5-0".
func ParseID(s string) (ID, error) {
	first, second, two := strings.Cut(s, "-")
	if !two {
		second = "0"
	}
	a, ok1 := parseHalf(first)
	b, ok2 := parseHalf(second)
	if !ok1 || !ok2 {
		return ID{}, fmt.Errorf("id %.60q: expected two numbers of 64 bits, as in 17-0", s)
	}
	return ID{a, b}, nil
}

func parseHalf(s string) (uint64, bool) {
	if s == "" || s[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// String returns the id as Redis writes it.
func (id ID) String() string {
	return strconv.FormatUint(id.first, 10) + "-" + strconv.FormatUint(id.second, 10)
}

// generation counts how often the publisher began its stream again.
func (id ID) generation() uint64 { return id.first >> TIDBits }

// tid is that of the transaction whose change the entry is.
func (id ID) tid() int64 { return int64(id.first & (1<<TIDBits - 1)) }

// compare returns -1, 0 or 1, as id lies before other, is the same, or lies after
// it.
func (id ID) compare(other ID) int {
	return cmp.Or(cmp.Compare(id.first, other.first), cmp.Compare(id.second, other.second))
}

// previous returns the highest id that is lower. None is lower than zero.
func (id ID) previous() ID {
	switch {
	case id.second > 0:
		return ID{id.first, id.second - 1}
	case id.first > 0:
		return ID{id.first - 1, math.MaxUint64}
	}
	return id
}
