package capture

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// conflict is an error of PostgreSQL's that says that a transaction was rolled back for another.
type conflict struct{}

func (conflict) Error() string    { return "deadlock detected" }
func (conflict) SQLState() string { return "40P01" }

// TestPassingFailures: two who were in each other's way wake no operator; a failure that stays does.
func TestPassingFailures(t *testing.T) {
	for name, test := range map[string]struct {
		errs []error // of the tries
		said bool
	}{
		"a deadlock":            {[]error{conflict{}}, false},
		"rows that are gone":    {[]error{ErrTaken, ErrTaken}, false},
		"deadlocks without end": {[]error{conflict{}, conflict{}, conflict{}, conflict{}, conflict{}, conflict{}, conflict{}}, true},
		"another failure":       {[]error{errors.New("broken")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				r := Resource{"ticket", "1"}
				tries := 0
				i := NewImporter(ImporterConfig{
					Logger: slog.New(slog.NewTextHandler(&log, nil)),
					Take: func(context.Context, []Resource) error {
						tries++
						if tries <= len(test.errs) {
							return test.errs[tries-1]
						}
						return nil
					},
				}, Found{})
				for tries <= len(test.errs) {
					_, err := i.takeThese(t.Context(), []Resource{r})
					i.report(err)
					time.Sleep(10 * time.Millisecond)
				}
				assert.Equal(t, test.said, log.Len() > 0, log.String())
				assert.NoError(t, i.err, "at the end it was taken in")
			})
		})
	}
}
