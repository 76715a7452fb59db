package progress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
	"github.com/tracbus/tracbus/internal/store"
)

// Every statement here raises the heartbeat: so MySQL, which counts the rows that
// changed, counts each row that it found, and others see that the holder lives.

// Claim is a consumer's lease as its holder knows it: by its fencing token.
type Claim struct {
	Name  string
	Token int64
}

// claimed is the condition that rows are of these claims, and its values. Leases
// that were acquired together have the same token.
func claimed(claims []Claim) (text string, args []any) {
	claims = slices.SortedFunc(slices.Values(claims), func(a, b Claim) int {
		return cmp.Or(cmp.Compare(a.Token, b.Token), cmp.Compare(a.Name, b.Name))
	})
	var all []string
	for i := 0; i < len(claims); {
		n := i
		args = append(args, claims[i].Token)
		var names []string
		for ; n < len(claims) && claims[n].Token == claims[i].Token; n++ {
			names = append(names, claims[n].Name)
		}
		text, values := in(names)
		all, args = append(all, "token = ? AND name IN "+text), append(args, values...)
		i = n
	}
	return "(" + strings.Join(all, " OR ") + ")", args
}

// AcquireLeases acquires the leases of consumers whose rows are unchanged since
// they were seen, and which are free, expired or already the holder's; force skips
// the last condition. It returns the new tokens of those that it acquired. Each
// exceeds every earlier one of its consumer, including those lost in a restore, as
// long as the database's clock did not go back. Whoever has an older token is
// deposed. After an error leases may be taken: then their rows name the holder, who
// can acquire them again.
func (t *Tables) AcquireLeases(ctx context.Context, seen []Consumer, holder string, lease time.Duration, force bool) (tokens map[string]int64, err error) {
	if holder = storable(holder, maxHolder); holder == "" {
		return nil, errors.New("acquire leases without a holder's name")
	}
	// Because of the condition on the token and the heartbeat, one of many wins: the others
	// find a row that changed. Databases check it again once they have locked the row.
	args := []any{holder, lease.Microseconds(), holder, sqltext.Number(force)}
	which := make([]string, len(seen))
	names := make([]string, len(seen))
	for i, o := range seen {
		which[i], names[i] = "name = ? AND token = ? AND heartbeat = ?", o.Name
		args = append(args, o.Name, o.Token, o.Heartbeat)
	}
	n, err := t.update(ctx, names, `UPDATE {journal_consumer} SET token = {GREATEST}(token + 1, {NOW} / 1000), heartbeat = heartbeat + 1, holder = ?, leased_at = {NOW}, expires = {NOW} + ?
WHERE (holder = '' OR holder = ? OR expires <= {NOW} OR ? = 1) AND (`+strings.Join(which, " OR ")+")", args...)
	if err != nil || n == 0 {
		return nil, err
	}
	now, err := t.FindConsumers(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("leases were taken, their tokens not read: %w", err)
	}
	tokens = map[string]int64{}
	for _, o := range seen {
		// Another statement of the holder raises the heartbeat alone.
		if row, ok := now[o.Name]; ok && row.Holder == holder && row.Heartbeat == o.Heartbeat+1 && row.Token > o.Token {
			tokens[o.Name] = row.Token
		}
	}
	return tokens, nil
}

// RenewLeases makes leases end later that last equally long, and returns how many: those
// of holders that are deposed or have released the lease, and of consumers that were
// dropped, are not renewed. A lease that expired is renewed if nobody else has acquired
// it.
func (t *Tables) RenewLeases(ctx context.Context, lease time.Duration, claims []Claim) (renewed int64, err error) {
	t.mover.rest(ctx, false)
	which, args := claimed(claims)
	renewed, err = t.update(ctx, namesOf(claims), "UPDATE {journal_consumer} SET heartbeat = heartbeat + 1, expires = {NOW} + ? WHERE holder <> '' AND "+which,
		append([]any{lease.Microseconds()}, args...)...)
	if err == nil && renewed > 0 {
		t.mover.reachedDisk()
	}
	return renewed, err
}

// ReleaseLeases gives up leases, so that nobody has to wait for their ends. It does
// nothing for holders that are deposed.
func (t *Tables) ReleaseLeases(ctx context.Context, claims []Claim) (err error) {
	defer t.within(&ctx, &err)()
	t.mover.rest(ctx, true)
	which, args := claimed(claims)
	_, err = t.update(ctx, namesOf(claims), "UPDATE {journal_consumer} SET heartbeat = heartbeat + 1, holder = '', expires = {NOW} WHERE holder <> '' AND "+which, args...)
	return err
}

func namesOf(claims []Claim) []string {
	names := make([]string, len(claims))
	for i, c := range claims {
		names[i] = c.Name
	}
	return names
}

// ErrLocked says that nothing was done for many consumers, because another transaction
// has locked the row of one.
var ErrLocked = errors.New("the row of a consumer is locked")

// update runs an UPDATE of the rows of some consumers, and returns how many changed.
func (t *Tables) update(ctx context.Context, names []string, text string, args ...any) (changed int64, err error) {
	if len(names) == 1 || !t.store.Lingers() {
		return t.store.Exec(ctx, text, args...)
	}
	err = t.store.Transact(ctx, func(conn *store.Conn) error {
		if err := t.lock(ctx, conn, names); err != nil {
			return err
		}
		result, err := conn.ExecContext(ctx, t.store.SQL(text), args...)
		if err == nil {
			changed, err = result.RowsAffected()
		}
		return err
	})
	return changed, err
}

// lock locks the rows of many consumers at once, or returns [ErrLocked]. Without it a
// statement that waits for one row, and is given up, would keep the others locked on a
// server that does not notice that.
func (t *Tables) lock(ctx context.Context, conn *store.Conn, names []string) error {
	if !t.store.Lingers() {
		return nil
	}
	list, args := in(names)
	rows, err := conn.QueryContext(ctx, t.store.SQL("SELECT name FROM {journal_consumer} WHERE name IN "+list+" {FOR UPDATE} NOWAIT"), args...)
	if err == nil {
		err = limit.Drain(ctx, rows)
	}
	if sqltext.IsLocked(err) {
		return fmt.Errorf("%w: %w", ErrLocked, err)
	}
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
	_, err := t.exec(ctx, "UPDATE {journal_consumer} SET heartbeat = heartbeat + 1, error = ?, failing = "+since+" WHERE name = ? AND token = ? AND holder <> ''",
		storable(failure, maxError), name, token)
	return err
}

// NoteGeneration stores the generation of what the listener keeps outside the
// database.
func (t *Tables) NoteGeneration(ctx context.Context, name string, token, generation int64) (held bool, err error) {
	return t.exec(ctx, "UPDATE {journal_consumer} SET heartbeat = heartbeat + 1, generation = ? WHERE name = ? AND token = ? AND holder <> ''", generation, name, token)
}
