package pgxbus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCallsRest: calls take the server a tenth of the time at most, but a call that comes later is sent at
// once; a rest is short, and ends with the caller's context.
func TestCallsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := time.Millisecond
		w := WakerConfig{}.of(nil, func(context.Context, string, string) error {
			<-time.After(took)
			return nil
		})
		began := time.Now()
		call := func() time.Duration {
			require.NoError(t, w.Call(t.Context(), "channel", "text"))
			return time.Since(began)
		}
		assert.Equal(t, time.Millisecond, call())
		assert.Equal(t, 12*time.Millisecond, call())
		<-time.After(time.Second)
		assert.Equal(t, 1013*time.Millisecond, call())
		took = time.Second
		assert.Equal(t, 2023*time.Millisecond, call())
		took = 0
		assert.Equal(t, 2043*time.Millisecond, call())
		took = time.Second
		call()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		assert.ErrorIs(t, w.Call(ctx, "channel", "text"), context.DeadlineExceeded)
	})
}
