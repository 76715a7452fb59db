package tracbus

import (
	"context"
	"fmt"
	"time"
)

// ConsumerStatus says how a name of [Durable] stands, whichever process runs it.
type ConsumerStatus struct {
	Name string

	// Holder is the process that tells the listener: its host, its pid and a
	// part of its identity. Empty: none does.
	Holder         string
	HeldHere       bool          // it is this process
	Token          int64         // of the lease
	LeaseAge       time.Duration // since the lease was taken
	LeaseRemaining time.Duration // until it ends, unless it is renewed; from zero down it has ended

	// TID is that of the last change done, Seq its place in the transaction;
	// where all of the transaction is done, Seq is -1.
	TID int64
	Seq int

	// Lag counts the changes that are committed and not done, of the realms
	// that this process knows; LagAge is how long ago the oldest was made.
	Lag    int64
	LagAge time.Duration

	// Err is what the listener failed with, since Failing. Empty: it gets on.
	Err        string
	FailingFor time.Duration

	DeadLetters int // how many changes are set aside
}

// waitOnce waits until a name is done with all that the journal has told the
// bus, and that this process has committed.
func (b *Bus) waitOnce(ctx context.Context, name string) error {
	b.mu.Lock()
	j := b.journal
	b.mu.Unlock()
	if j == nil {
		return nil // of nothing
	}
	tid := max(b.fedTo(), b.committed())
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		row, found, err := j.store.FindConsumer(ctx, name)
		if err != nil {
			return fmt.Errorf("wait for %q: %w", name, err)
		}
		if c := row.Cursor; found && (c.TID > tid || c.TID == tid && !c.Partial) {
			return nil
		}
		if !sleep(ctx, pause) {
			return fmt.Errorf("wait for %q to handle tid %d: it has come to tid %d: %w", name, tid, row.Cursor.TID, ctx.Err())
		}
	}
}

// onceStatus asks the database how the names stand.
func (j *Journal) onceStatus(ctx context.Context) ([]ConsumerStatus, error) {
	rows, err := j.store.Consumers(ctx)
	if err != nil {
		return nil, err
	}
	me := holderName(j.origin)
	var all []ConsumerStatus
	for _, row := range rows {
		o := ConsumerStatus{
			Name: row.Name, Holder: row.Holder, HeldHere: row.Holder == me, Token: row.Token, LeaseAge: row.Held, LeaseRemaining: row.Left,
			TID: row.Cursor.TID, Seq: -1, Err: row.Error, FailingFor: row.Failing, DeadLetters: row.DeadLetters,
		}
		if row.Cursor.Partial {
			o.Seq = row.Cursor.Seq
		}
		lag, oldest, err := j.store.Lag(ctx, row.Cursor, j.realmNames())
		if err != nil {
			return nil, err
		}
		if o.Lag = lag; lag > 0 {
			o.LagAge = max(time.Since(time.UnixMicro(oldest)), 0)
		}
		all = append(all, o)
	}
	return all, nil
}
