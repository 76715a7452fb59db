package follow

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/store"
)

// TestCry: where no Run calls the others, a call that fails is made again, some times, and what
// becomes of it is said when that changes. Who closes waits for it.
func TestCry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		calls, fails := 0, 0
		f := &Follower{config: Config{WriteOnly: true, Logger: slog.New(slog.NewTextHandler(&log, nil)), Wake: &Wake{
			Through: "a test",
			Call: func(context.Context) (bool, error) {
				if calls++; calls <= fails {
					return false, errors.New("away")
				}
				return true, nil
			},
		}}}
		said := func(text string) int { return strings.Count(log.String(), text) }
		commit := func(failing, made int) {
			t.Helper()
			calls, fails = 0, failing
			f.Hint()
			require.NoError(t, f.Finish(t.Context()))
			assert.Equal(t, made, calls)
		}
		const lost, back = "other processes were not woken", "processes wake each other again"
		commit(0, 1)
		commit(2, 3) // the third succeeds
		assert.Empty(t, log.String())
		commit(100, cryTimes)
		commit(100, cryTimes)
		assert.Equal(t, 1, said(lost), "once while it is lost")
		commit(0, 1)
		commit(0, 1)
		assert.Equal(t, 1, said(back))
		commit(100, cryTimes)
		assert.Equal(t, 2, said(lost))

		// What was flushed, and of which the application has said nothing, is called after too.
		calls, fails = 0, 0
		f.NoteFlush(store.Place{TID: 7}, 0)
		require.NoError(t, f.Finish(t.Context()))
		assert.Equal(t, 1, calls)
		f.NoteCommit(store.Place{TID: 7}, 0)
		require.NoError(t, f.Finish(t.Context()))
		assert.Equal(t, 1, calls)
	})
}

// TestCryHangs: a call without an answer ends, and a Close that has no time does not wait for it.
func TestCryHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		f := &Follower{config: Config{WriteOnly: true, Logger: slog.New(slog.DiscardHandler), Wake: &Wake{
			Call: func(ctx context.Context) (bool, error) { calls++; <-ctx.Done(); return false, ctx.Err() },
		}}}
		began := time.Now()
		f.Hint()
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		assert.ErrorIs(t, f.Finish(short), context.DeadlineExceeded)
		require.NoError(t, f.Finish(t.Context()))
		assert.Equal(t, cryTimes*cryFor+3*firstPause, time.Since(began))
		assert.Equal(t, cryTimes, calls)
	})
}
