package testkit

import (
	"fmt"
)

type Findings []string

func (f *Findings) Add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }
