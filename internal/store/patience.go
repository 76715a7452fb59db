package store

import (
	"context"
	"fmt"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/store/turns"
)

// Limits bounds every wait of a store; see [limit.Limits].
type Limits = limit.Limits

// WithLimits returns a context that gives [Open] other limits than the usual, for tests.
func WithLimits(ctx context.Context, l Limits) context.Context { return limit.With(ctx, l) }

// Limits returns what the store was opened with.
func (s *Store) Limits() Limits { return s.limits }

// Within ends *ctx, and explains *err, if the database is silent for longer than most:
// whatever asks it begins with this. See [limit.Bound].
func (s *Store) Within(most time.Duration, ctx *context.Context, err *error) (done func()) {
	return limit.Bound(ctx, err, most, s.suspects)
}

// suspects says why nothing may have come, as far as this process knows.
func (s *Store) suspects() string {
	if st := s.db.Stats(); st.MaxOpenConnections > 0 && st.InUse >= st.MaxOpenConnections {
		return fmt.Sprintf(", and all connections of the pool are in use, %d of %d (SetMaxOpenConns): a call within Update that needs another one waits for itself",
			st.InUse, st.MaxOpenConnections)
	}
	return ""
}

// toWrite is how long one statement that writes is waited for: on SQLite its turn comes
// after those of all others who write.
func (s *Store) toWrite() time.Duration {
	if s.dialect.oneWriter {
		return s.limits.Lock
	}
	return s.limits.Answer
}

// patiently is [turns.Patiently], if one transaction writes at a time.
func (s *Store) patiently(ctx context.Context, f func() error) error {
	if !s.dialect.oneWriter {
		return f()
	}
	return turns.Patiently(ctx, s.limits.Writer, f)
}

// Sleep is [limit.Sleep].
func Sleep(ctx context.Context, d time.Duration) bool { return limit.Sleep(ctx, d) }
