package testkit

import (
	"fmt"
)

// Numbered returns the prefix with the numbers from one to another, of two digits.
func Numbered(prefix string, from, to int) (all []string) {
	for i := from; i <= to; i++ {
		all = append(all, fmt.Sprintf("%s%02d", prefix, i))
	}
	return all
}
