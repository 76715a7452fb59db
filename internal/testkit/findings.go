package testkit

import (
	"fmt"
)

// Findings is what a checker finds wrong.
type Findings []string

// Add adds a finding.
func (f *Findings) Add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }
