package tracbus

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// streamID is the id of an entry in a publisher's stream. Its first number has
// the branch in the upper 16 bits and the tid below, its second is the place in
// the transaction. The zero id lies before all entries.
type streamID struct {
	first, second uint64
}

// parseStreamID reads an id as Redis does: "5" is "5-0".
func parseStreamID(s string) (streamID, error) {
	first, second, two := strings.Cut(s, "-")
	if !two {
		second = "0"
	}
	a, ok1 := parseHalf(first)
	b, ok2 := parseHalf(second)
	if !ok1 || !ok2 {
		return streamID{}, fmt.Errorf("id %.60q: expected two numbers of 64 bits, as in 17-0", s)
	}
	return streamID{a, b}, nil
}

func parseHalf(s string) (uint64, bool) {
	if s == "" || s[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// String returns the id as Redis writes it.
func (id streamID) String() string {
	return strconv.FormatUint(id.first, 10) + "-" + strconv.FormatUint(id.second, 10)
}

func (id streamID) branch() uint64 { return id.first >> tidBits }

func (id streamID) tid() int64 { return int64(id.first & (1<<tidBits - 1)) }

func (id streamID) compare(other streamID) int {
	return cmp.Or(cmp.Compare(id.first, other.first), cmp.Compare(id.second, other.second))
}

// below returns the highest id that is lower; none is lower than zero.
func (id streamID) below() streamID {
	switch {
	case id.second > 0:
		return streamID{id.first, id.second - 1}
	case id.first > 0:
		return streamID{id.first - 1, math.MaxUint64}
	}
	return id
}
