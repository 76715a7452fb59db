// Package mark finds out which changes of a transaction still hold after an application
// has rolled back to a savepoint. Its secret is what a database undoes then, and shows: each
// change leaves a mark in the transaction, and what is gone was rolled back. Where a
// savepoint is released, the marks stay.
package mark

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// SQL is the transaction's.
type SQL interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Marks are those of one transaction, for one goroutine.
type Marks struct {
	way   way
	text  func(string) string
	id    string // of the transaction, random
	count int    // marks that were set
	known string // what the database showed last
	holds ranges
	set   bool // the database has something
}

// For returns the marks of a transaction with a random id that no quotes are in. text writes
// a statement in the words of the database, which a name of it chooses.
func For(dialect, id string, text func(string) string) *Marks {
	m := &Marks{text: text, id: id, way: inTable{}}
	if dialect == "postgresql" {
		m.way = &inSetting{}
	}
	return m
}

// way is how a database keeps marks.
type way interface {
	// extend has marks become what is said last, if they are as known; else it has the mark n
	// added. It returns what they are then.
	extend(ctx context.Context, q SQL, m *Marks, n int) (now string, err error)
	// read returns what they are, and removes them if they are not to stay.
	read(ctx context.Context, q SQL, m *Marks, remove bool) (now string, err error)
}

// ErrOther says that the marks are of another transaction than the one that they are asked of.
var ErrOther = errors.New("it is no transaction, or another one than at first")

// Set sets the next mark, and returns its number, from 1.
func (m *Marks) Set(ctx context.Context, q SQL) (n int, err error) {
	m.count++
	now, err := m.way.extend(ctx, q, m, m.count)
	if err != nil {
		return 0, fmt.Errorf("mark what follows: %w", err)
	}
	m.set = true
	return m.count, m.learn(now)
}

// Look finds out which marks hold now.
func (m *Marks) Look(ctx context.Context, q SQL) error { return m.look(ctx, q, false) }

// Take finds out which marks hold, and removes them from the database: the transaction is
// about to be committed.
func (m *Marks) Take(ctx context.Context, q SQL) error { return m.look(ctx, q, true) }

func (m *Marks) look(ctx context.Context, q SQL, remove bool) error {
	if !m.set {
		return nil
	}
	now, err := m.way.read(ctx, q, m, remove)
	if err != nil {
		return fmt.Errorf("which changes were rolled back: %w", err)
	}
	return m.learn(now)
}

func (m *Marks) learn(now string) (err error) {
	m.known = now
	m.holds, err = parse(now)
	return err
}

// Holds says whether what came after a mark, and before the next, still holds, as the
// database said last. What came before all marks does: its number is 0.
func (m *Marks) Holds(n int) bool { return n == 0 || m.holds.has(n) }

// Used says whether there is any mark; there is none of a nil one.
func (m *Marks) Used() bool { return m != nil && m.set }

// Prove says whether Take would have found out that the transaction has ended meanwhile.
func (m *Marks) Prove() bool {
	if !m.Used() {
		return false
	}
	_, bySetting := m.way.(*inSetting)
	return bySetting
}

// ranges are numbers in rising order, as "1-5,8".
type ranges [][2]int

func parse(text string) (all ranges, err error) {
	if text == "" {
		return nil, nil
	}
	for _, part := range strings.Split(text, ",") {
		first, last, many := strings.Cut(part, "-")
		if !many {
			last = first
		}
		a, err1 := strconv.Atoi(first)
		b, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || a < 1 || b < a {
			return nil, fmt.Errorf("marks %.100q: expected numbers, as 1-5,8", text)
		}
		all = append(all, [2]int{a, b})
	}
	return all, nil
}

func (r ranges) has(n int) bool {
	for _, part := range r {
		if part[0] <= n && n <= part[1] {
			return true
		}
	}
	return false
}

// with returns the text of r with a number that is above all of it.
func (r ranges) with(n int) string {
	var b strings.Builder
	for i, part := range r {
		if i == len(r)-1 && part[1] == n-1 {
			part[1], n = n, 0
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(part[0]))
		if part[1] > part[0] {
			b.WriteString("-" + strconv.Itoa(part[1]))
		}
	}
	if n > 0 {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}
