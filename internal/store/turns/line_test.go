package turns

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/limit"
)

// file is a database that takes down what it is asked, and takes no time for it.
type file struct {
	mu      sync.Mutex
	asked   []string
	refuses error // of COMMIT
	version int64 // of the data
	begins  time.Duration
}

func (f *file) Connect(context.Context) (driver.Conn, error) { return connection{f}, nil }
func (f *file) Driver() driver.Driver                        { return nil }

// commits is the number of turns that each COMMIT has committed.
func (f *file) commits() (sizes []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	size := 0
	for _, query := range f.asked {
		switch query {
		case "BEGIN IMMEDIATE", savepoint:
			size++
		case "COMMIT":
			sizes = append(sizes, size)
			size = 0
		}
	}
	return sizes
}

type connection struct{ *file }

func (c connection) Prepare(query string) (driver.Stmt, error) { return statement{c, query}, nil }
func (c connection) Begin() (driver.Tx, error)                 { return nil, driver.ErrSkip }
func (c connection) Close() error                              { return nil }

func (c connection) exec(query string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, query)
	switch {
	case query == "COMMIT":
		return c.refuses
	case query == "BEGIN IMMEDIATE" && c.begins > 0:
		time.Sleep(c.begins) // in the bubble's time
	}
	return nil
}

type statement struct {
	connection
	query string
}

func (s statement) NumInput() int { return -1 }
func (s statement) Exec([]driver.Value) (driver.Result, error) {
	return driver.RowsAffected(0), s.exec(s.query)
}

func (s statement) Query([]driver.Value) (driver.Rows, error) {
	var value driver.Value = int64(0)
	switch {
	case s.query == "PRAGMA journal_mode":
		value = "wal"
	case strings.HasSuffix(s.query, "_version"):
		s.mu.Lock()
		value = 1 + s.version
		s.mu.Unlock()
	}
	return &answer{value}, nil
}

type answer struct{ value driver.Value }

func (a *answer) Columns() []string { return []string{"value"} }
func (a *answer) Close() error      { return nil }
func (a *answer) Next(into []driver.Value) error {
	if a.value == nil {
		return io.EOF
	}
	into[0], a.value = a.value, nil
	return nil
}

// taking has a test take turns.
type taking struct {
	*testing.T
	*file
	line *Line
	db   *sql.DB
}

// takes runs a test with a line of turns, in a bubble.
func takes(t *testing.T, f func(taking)) {
	synctest.Test(t, func(t *testing.T) {
		file := &file{}
		db := sql.OpenDB(file)
		unbounded := func(*context.Context, *error) func() { return func() {} }
		line := New(db, limit.From(t.Context()), unbounded)
		defer db.Close()
		defer line.Close()
		f(taking{t, file, line, db})
	})
}

// turn takes one, which lasts.
func (t taking) turn(lasts time.Duration) error {
	turn, err := t.line.Begin(t.Context())
	if err != nil {
		return err
	}
	time.Sleep(lasts)
	return turn.Commit(t.Context())
}

// turns takes one after the other, which all wait while the first goes on.
func (t taking) turns(lasts ...time.Duration) (errs []error) {
	errs = make([]error, len(lasts))
	var going sync.WaitGroup
	for i, long := range lasts {
		going.Go(func() { errs[i] = t.turn(long) })
		if i == 0 {
			synctest.Wait() // it has begun, and sleeps
		}
	}
	going.Wait()
	return errs
}

// TestOneCommitIsOfSoMany: those that are done do not wait for ever, however many come.
func TestOneCommitIsOfSoMany(t *testing.T) {
	takes(t, func(t taking) {
		for _, err := range t.turns(append([]time.Duration{time.Millisecond}, make([]time.Duration, 300)...)...) {
			require.NoError(t, err)
		}
		sizes := t.commits()
		assert.LessOrEqual(t, slices.Max(sizes), maxTurns+1)
		assert.Greater(t, slices.Max(sizes), maxTurns/2)
	})
}

// TestAfterASlowOne: after a slow turn some commit alone, so that the fast do not wait for the
// slow.
func TestAfterASlowOne(t *testing.T) {
	takes(t, func(t taking) {
		lasts := make([]time.Duration, 1+waryTurns+5)
		lasts[0] = time.Second
		for _, err := range t.turns(lasts...) {
			require.NoError(t, err)
		}
		assert.Equal(t, append(slices.Repeat([]int{1}, 1+waryTurns), 5), t.commits())
	})
}

// TestGivenBackBeforeItIsTold: who learns that a COMMIT has failed may need a connection to ask.
func TestGivenBackBeforeItIsTold(t *testing.T) {
	takes(t, func(t taking) {
		t.refuses = errors.New("database or disk is full")
		var told sync.WaitGroup
		for range 2 {
			told.Go(func() {
				assert.ErrorIs(t, t.turn(time.Millisecond), t.refuses)
				assert.Zero(t, t.db.Stats().InUse)
			})
			synctest.Wait()
		}
		told.Wait()
		assert.Equal(t, []int{2}, t.commits())
	})
}

// TestLeftToOthers: the file is left alone for a part of the time that many have held it, or one
// while others write. That is never longer than it takes them to try again.
func TestLeftToOthers(t *testing.T) {
	for name, c := range map[string]struct {
		lasts  []time.Duration
		others bool
		left   time.Duration
	}{
		"one":                 {[]time.Duration{80 * time.Millisecond}, false, 0},
		"one of two":          {[]time.Duration{80 * time.Millisecond}, true, 10 * time.Millisecond},
		"many":                {[]time.Duration{8 * time.Millisecond, 16 * time.Millisecond}, false, 3 * time.Millisecond},
		"many, a long one":    {[]time.Duration{8 * time.Millisecond, 8 * time.Second}, false, longest},
		"one of two, a long":  {[]time.Duration{8 * time.Second}, true, longest},
		"nothing for a short": {[]time.Duration{time.Millisecond, time.Millisecond}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			takes(t, func(t taking) {
				require.NoError(t, t.turn(0)) // it has seen the version of the data
				require.NoError(t, t.turn(0))
				require.NoError(t, t.turn(0))
				if c.others {
					t.begins, t.version = 2*pauses, 1
				}
				for _, err := range t.turns(c.lasts...) {
					require.NoError(t, err)
				}
				t.begins = 0
				began := time.Now()
				require.NoError(t, t.turn(0))
				assert.Equal(t, c.left, time.Since(began))
			})
		})
	}
}

// TestNobodyJoinsWhoseTimeIsOver: a turn can come in the moment in which the caller's context ends.
func TestNobodyJoinsWhoseTimeIsOver(t *testing.T) {
	takes(t, func(t taking) {
		first, err := t.line.Begin(t.Context())
		require.NoError(t, err)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, t.line.join(over), context.Canceled)
		require.NoError(t, first.Commit(t.Context()))
		assert.Equal(t, []int{1}, t.commits())
	})
}
