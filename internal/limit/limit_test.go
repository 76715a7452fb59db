package limit

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// asks is a function of the library that waits for a database.
func asks(ctx context.Context, most time.Duration, ask func(context.Context) error) (err error) {
	defer Bound(&ctx, &err, most, func() string { return ", and all is in use" })()
	return ask(ctx)
}

func silent(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// A wait ends when the database was silent for as long as it may be, and says so.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := asks(t.Context(), time.Minute, silent)
		assert.Equal(t, time.Minute, time.Since(began))
		assert.ErrorIs(t, err, ErrNoAnswer)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotErrorIs(t, err, context.Canceled, "nobody has canceled anything")
		assert.EqualError(t, err, "no answer from the database for 1m0s, and all is in use: context deadline exceeded")

		began = time.Now()
		err = asks(t.Context(), time.Minute, func(ctx context.Context) error { return asks(ctx, time.Second, silent) })
		assert.Equal(t, time.Minute, time.Since(began), "the bound is of the whole")
		assert.EqualError(t, err, "no answer from the database for 1m0s, and all is in use: context deadline exceeded")
	})
}

// A caller whose own context ends is told that, and nothing of a bound.
func TestBoundCallerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.EqualError(t, asks(ctx, time.Minute, silent), "context deadline exceeded")
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		assert.EqualError(t, asks(canceled, time.Minute, silent), "context canceled")
		time.Sleep(2 * time.Minute) // no timer is left
	})
}

// What goes on is not cut off: every answer gives as much time again.
func TestBoundProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		assert.NoError(t, asks(t.Context(), time.Minute, func(ctx context.Context) error {
			for range 10 {
				time.Sleep(50 * time.Second)
				Progress(ctx)
			}
			return ctx.Err()
		}))
		err := asks(t.Context(), time.Minute, func(ctx context.Context) error {
			time.Sleep(50 * time.Second)
			Progress(ctx)
			time.Sleep(70 * time.Second)
			Progress(ctx) // too late
			time.Sleep(time.Second)
			return ctx.Err()
		})
		assert.ErrorIs(t, err, ErrNoAnswer)
		Progress(t.Context()) // of no bound
	})
}

// An error that is no silence stays as it is.
func TestBoundOtherErrors(t *testing.T) {
	other := errors.New("syntax error")
	assert.Equal(t, other, asks(t.Context(), time.Minute, func(context.Context) error { return other }))
}

type fails struct{ err error }

func (f fails) QueryContext(context.Context, string, ...any) (*sql.Rows, error) { return nil, f.err }

func TestQueryRow(t *testing.T) {
	err := errors.New("gone")
	assert.Equal(t, err, QueryRow(t.Context(), fails{err}, "SELECT 1").Scan())
}

// Zero means the default, which the documentation has.
func TestLimits(t *testing.T) {
	l := From(With(t.Context(), Limits{Lock: time.Second}))
	assert.Equal(t, time.Second, l.Lock)
	assert.Equal(t, defaults.Answer, l.Answer)
	assert.Equal(t, defaults, From(t.Context()))
}
