package testkit

import (
	"fmt"
	"slices"
	"sync"
)

// Diary is what was delivered to one listener.
type Diary struct {
	mu      sync.Mutex
	entries []string
}

// Write adds an entry.
func (d *Diary) Write(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, fmt.Sprintf(format, args...))
}

// Read returns the entries so far.
func (d *Diary) Read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.entries)
}
