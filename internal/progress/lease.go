package progress

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Every statement here raises the heartbeat: so MySQL, which counts the rows that
// changed, counts each row that it found, and others see that the holder lives.

// AcquireLease acquires the lease of a consumer, if its row is unchanged since seen and
// the lease is free, expired or already the holder's; force skips the last
// condition. The new token exceeds every earlier one, including those lost in a
// restore, as long as the database's clock did not go back. Whoever has an older
// token is deposed. After an error the lease may be taken: then the row names the
// holder, who can acquire it again.
func (t *Tables) AcquireLease(ctx context.Context, seen Consumer, holder string, lease time.Duration, force bool) (token int64, taken bool, err error) {
	if holder = storable(holder, maxHolder); holder == "" {
		return 0, false, errors.New("acquire a lease without a holder's name")
	}
	// Because of the condition on the token and the heartbeat, one of many wins: the others
	// find a row that changed. Databases check it again once they have locked the row.
	taken, err = t.exec(ctx, `UPDATE {journal_once} SET epoch = {GREATEST}(epoch + 1, {NOW} / 1000), beat = beat + 1, holder = ?, taken = {NOW}, expires = {NOW} + ?
WHERE name = ? AND epoch = ? AND beat = ? AND (holder = '' OR holder = ? OR expires <= {NOW} OR ? = 1)`,
		holder, lease.Microseconds(), seen.Name, seen.Token, seen.Heartbeat, holder, number(force))
	if err != nil || !taken {
		return 0, false, err
	}
	now, found, err := t.FindConsumer(ctx, seen.Name)
	switch {
	case err != nil:
		return 0, false, fmt.Errorf("the lease was taken, its token not read: %w", err)
	case !found || now.Holder != holder || now.Heartbeat != seen.Heartbeat+1: // gone again
		return 0, false, nil
	}
	return now.Token, true, nil
}

// RenewLease makes the lease of a token end later. held is false if the holder is
// deposed or has released the lease, or if the consumer was dropped. A lease that
// expired is renewed if nobody else has acquired it.
func (t *Tables) RenewLease(ctx context.Context, name string, token int64, lease time.Duration) (held bool, err error) {
	return t.exec(ctx, "UPDATE {journal_once} SET beat = beat + 1, expires = {NOW} + ? WHERE name = ? AND epoch = ? AND holder <> ''",
		lease.Microseconds(), name, token)
}

const moveCursor = `UPDATE {journal_once} SET tid = ?, mark = ?, seq = ?, rest = ?, beat = beat + 1, expires = {NOW} + ?
WHERE name = ? AND epoch = ? AND holder <> '' AND tid = ? AND mark = ? AND seq = ? AND rest = ?`

// moving returns moveCursor's values.
func moving(name string, token int64, from, to Cursor, lease time.Duration) []any {
	fromSeq, fromRest := from.columns()
	toSeq, toRest := to.columns()
	return []any{to.TID, to.CommitID, toSeq, toRest, lease.Microseconds(), name, token, from.TID, from.CommitID, fromSeq, fromRest}
}

// MoveCursor renews the lease and moves the cursor. moved is false, and nothing
// changed, if the holder is deposed, or if the cursor is not where it was left: the
// database was restored from an older copy. After an error it may have moved.
func (t *Tables) MoveCursor(ctx context.Context, name string, token int64, from, to Cursor, lease time.Duration) (moved bool, err error) {
	return t.exec(ctx, moveCursor, moving(name, token, from, to, lease)...)
}

// ReleaseLease gives up the lease, so that nobody has to wait for its end. It does
// nothing for a holder that is deposed.
func (t *Tables) ReleaseLease(ctx context.Context, name string, token int64) error {
	_, err := t.exec(ctx, "UPDATE {journal_once} SET beat = beat + 1, holder = '', expires = {NOW} WHERE name = ? AND epoch = ? AND holder <> ''", name, token)
	return err
}

// NoteFailure stores how the last call of the listener ended; an empty failure
// means that it succeeded. Of many failures in a row, under several holders too,
// the time of the first is kept. It does nothing for a holder that is deposed. The
// text is cut to 1000 bytes; bytes that are not UTF-8, and U+0000, are replaced.
func (t *Tables) NoteFailure(ctx context.Context, name string, token int64, failure string) error {
	since := "0"
	if failure != "" {
		since = "CASE WHEN failing <> 0 THEN failing ELSE {NOW} END"
	}
	_, err := t.exec(ctx, "UPDATE {journal_once} SET beat = beat + 1, error = ?, failing = "+since+" WHERE name = ? AND epoch = ? AND holder <> ''",
		storable(failure, maxError), name, token)
	return err
}

// NoteGeneration stores the generation of what the listener keeps outside the
// database.
func (t *Tables) NoteGeneration(ctx context.Context, name string, token, generation int64) (held bool, err error) {
	return t.exec(ctx, "UPDATE {journal_once} SET beat = beat + 1, branch = ? WHERE name = ? AND epoch = ? AND holder <> ''", generation, name, token)
}

// number is a bool as the columns have it.
func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
