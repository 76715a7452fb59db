package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Every statement here raises beat: so MySQL, which counts rows that changed,
// counts each row that it found, and others see that the holder lives.

// AcquireLease takes the lease of a name for a holder, if it still stands as it was
// seen and is free, the holder's own or expired, or anyway. The new epoch is
// above the one seen; it is also above those of leases that were forgotten
// because the database was put back to an older copy, unless its clock was too.
// Whoever has an older epoch is deposed. With an error, the lease may be taken:
// the holder finds itself named then, and can take it again.
func (s *Store) AcquireLease(ctx context.Context, seen Consumer, holder string, lease time.Duration, anyway bool) (epoch int64, taken bool, err error) {
	if holder = storable(holder, maxHolder); holder == "" {
		return 0, false, errors.New("take a lease without a holder's name")
	}
	// The condition on epoch and beat lets one of many win: the others find a
	// row that changed. Databases check it again once the row is theirs.
	taken, err = s.exec(ctx, `UPDATE {journal_once} SET epoch = {GREATEST}(epoch + 1, {NOW} / 1000), beat = beat + 1, holder = ?, taken = {NOW}, expires = {NOW} + ?
WHERE name = ? AND epoch = ? AND beat = ? AND (holder = '' OR holder = ? OR expires <= {NOW} OR ? = 1)`,
		holder, lease.Microseconds(), seen.Name, seen.Token, seen.Heartbeat, holder, number(anyway))
	if err != nil || !taken {
		return 0, false, err
	}
	now, found, err := s.FindConsumer(ctx, seen.Name)
	switch {
	case err != nil:
		return 0, false, fmt.Errorf("the lease was taken, its epoch not read: %w", err)
	case !found || now.Holder != holder || now.Heartbeat != seen.Heartbeat+1: // gone again
		return 0, false, nil
	}
	return now.Token, true, nil
}

// RenewLease makes the lease of an epoch end later. held is false if the holder is
// deposed, released the lease, or the name is gone. A lease that expired, and
// that nobody took, is renewed.
func (s *Store) RenewLease(ctx context.Context, name string, epoch int64, lease time.Duration) (held bool, err error) {
	return s.exec(ctx, "UPDATE {journal_once} SET beat = beat + 1, expires = {NOW} + ? WHERE name = ? AND epoch = ? AND holder <> ''",
		lease.Microseconds(), name, epoch)
}

const moveOnce = `UPDATE {journal_once} SET tid = ?, mark = ?, seq = ?, rest = ?, beat = beat + 1, expires = {NOW} + ?
WHERE name = ? AND epoch = ? AND holder <> '' AND tid = ? AND mark = ? AND seq = ? AND rest = ?`

// moving returns moveOnce's values.
func moving(name string, epoch int64, from, to Cursor, lease time.Duration) []any {
	fromSeq, fromRest := from.columns()
	toSeq, toRest := to.columns()
	return []any{to.TID, to.CommitID, toSeq, toRest, lease.Microseconds(), name, epoch, from.TID, from.CommitID, fromSeq, fromRest}
}

// MoveCursor renews the lease and moves the cursor. moved is false, and nothing
// changed, if the holder is deposed, or the cursor is not where it was left: the
// database was put back to an older copy. With an error, it may have moved.
func (s *Store) MoveCursor(ctx context.Context, name string, epoch int64, from, to Cursor, lease time.Duration) (moved bool, err error) {
	return s.exec(ctx, moveOnce, moving(name, epoch, from, to, lease)...)
}

// ReleaseLease gives the lease back, so that another need not wait for its end. It
// does nothing for a holder that is deposed.
func (s *Store) ReleaseLease(ctx context.Context, name string, epoch int64) error {
	_, err := s.exec(ctx, "UPDATE {journal_once} SET beat = beat + 1, holder = '', expires = {NOW} WHERE name = ? AND epoch = ? AND holder <> ''", name, epoch)
	return err
}

// NoteFailure notes how the holder's last call ended; an empty failure means well.
// The time since when it fails stays that of the first of many failures, through
// other holders too. It does nothing for a holder that is deposed. A text is cut
// to 1000 bytes; what is no UTF-8, and U+0000, is replaced.
func (s *Store) NoteFailure(ctx context.Context, name string, epoch int64, failure string) error {
	since := "0"
	if failure != "" {
		since = "CASE WHEN failing <> 0 THEN failing ELSE {NOW} END"
	}
	_, err := s.exec(ctx, "UPDATE {journal_once} SET beat = beat + 1, error = ?, failing = "+since+" WHERE name = ? AND epoch = ? AND holder <> ''",
		storable(failure, maxError), name, epoch)
	return err
}

// NoteGeneration notes the branch of what the listener keeps outside.
func (s *Store) NoteGeneration(ctx context.Context, name string, epoch, branch int64) (held bool, err error) {
	return s.exec(ctx, "UPDATE {journal_once} SET beat = beat + 1, branch = ? WHERE name = ? AND epoch = ? AND holder <> ''", branch, name, epoch)
}

// number is a bool as the columns have it.
func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
