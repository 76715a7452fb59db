// Package limit keeps the library from waiting for ever: how long each wait may take, and
// what is said when it took longer. docs/internals.md has a table of all waits.
package limit

import (
	"cmp"
	"context"
	"time"
)

// Limits says how long something is waited for at most. The caller's context may end
// a wait before.
type Limits struct {
	// Answer is for the database's answer to a statement that waits for no other
	// transaction, for a free connection, and for one that is made.
	Answer time.Duration

	// Lock is for a statement that may wait for other transactions, or that reads all
	// of a table. It is longer than what a server itself allows a lock, 50 s on MySQL.
	Lock time.Duration

	// Commit is for the answer to COMMIT, and then for the word on what became of it.
	Commit time.Duration

	// Writer is for the place of the one who writes on SQLite, and for the lock of
	// its file.
	Writer time.Duration

	// Together is how long transactions of this process that have done their work wait
	// on SQLite for others to do theirs, so that one COMMIT does for all. A transaction
	// that has begun by then is waited for, except after one that took twice as long.
	Together time.Duration

	// Spare is how much time a caller must have left whose work is to wait so for others. It is
	// longer than most of what these do: when it is over, nobody can say what will become of
	// that work.
	Spare time.Duration

	// Rollback is for the end of a transaction that is given up.
	Rollback time.Duration
}

// defaults are what a zero means.
var defaults = Limits{
	Answer:   15 * time.Second,
	Lock:     60 * time.Second,
	Commit:   15 * time.Second,
	Writer:   30 * time.Second,
	Together: 10 * time.Millisecond,
	Spare:    2 * time.Second,
	Rollback: 5 * time.Second,
}

type limitsKey struct{}

// With returns a context that has limits, for tests: they are those of the journal that
// is opened with it, and of the models of package trac that are saved with it.
func With(ctx context.Context, l Limits) context.Context {
	return context.WithValue(ctx, limitsKey{}, l)
}

// From returns the limits that a context has, or the defaults.
func From(ctx context.Context) Limits {
	l, _ := ctx.Value(limitsKey{}).(Limits)
	return Limits{
		Answer:   cmp.Or(l.Answer, defaults.Answer),
		Lock:     cmp.Or(l.Lock, defaults.Lock),
		Commit:   cmp.Or(l.Commit, defaults.Commit),
		Writer:   cmp.Or(l.Writer, defaults.Writer),
		Together: cmp.Or(l.Together, defaults.Together),
		Spare:    cmp.Or(l.Spare, defaults.Spare),
		Rollback: cmp.Or(l.Rollback, defaults.Rollback),
	}
}
