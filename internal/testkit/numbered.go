package testkit

import (
	"fmt"
)

func Numbered(prefix string, from, to int) (all []string) {
	for i := from; i <= to; i++ {
		all = append(all, fmt.Sprintf("%s%02d", prefix, i))
	}
	return all
}
