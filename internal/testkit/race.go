//go:build race

package testkit

// raced says that the race detector watches.
const raced = true
