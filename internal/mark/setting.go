package mark

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"

	"github.com/tracbus/tracbus/internal/limit"
)

// inSetting keeps marks in a setting of PostgreSQL that is local to the transaction: to roll
// back to a savepoint puts it back to what it was, and to release one keeps it. It has a part
// for each transaction of the library in the one of the database, such as "id=1-5;other=1".
// Outside of a transaction it is lost at once, and the time at which a transaction began
// tells it from every other. RESET ALL puts it back too, but leaves advisory locks, which a rollback
// to a savepoint gives up: one that is taken after a mark tells that this mark was not rolled back.
type inSetting struct {
	whole  string // the setting as it was last
	began  string
	locked int   // the mark after which the lock was taken; 0: none
	key    int64 // of the lock
}

// ErrReset says that the application has put settings back.
var ErrReset = errors.New("the transaction's settings were reset, and with them what was rolled back is not known any more: expected no RESET ALL or RESET tracbus.marks in a transaction that is joined")

func (w *inSetting) extend(ctx context.Context, q SQL, m *Marks, n int) (string, error) {
	const text = `SELECT set_config('tracbus.marks', CASE WHEN s.now = CAST(? AS text) THEN CAST(? AS text) ELSE s.now || CAST(? AS text) END, true), CAST(extract(epoch FROM now()) AS text)
FROM (SELECT coalesce(current_setting('tracbus.marks', true), '') AS now) s`
	args := []any{w.whole, w.with(m.id, m.holds.with(n)), w.added(m.id, n)}
	if w.locked == 0 {
		w.key = rand.Int64()
		now, err := w.ask(ctx, q, m, text+", pg_advisory_xact_lock(CAST(? AS bigint)) l", append(args, w.key)...)
		if err == nil {
			w.locked = n
		}
		return now, err
	}
	now, err := w.ask(ctx, q, m, text, args...)
	if err == nil {
		err = w.check(ctx, q, m, now)
	}
	if err == nil && w.locked == 0 {
		w.locked = n
		err = limit.Ask(ctx, q, m.text("SELECT pg_advisory_xact_lock(CAST(? AS bigint))"), w.key)
	}
	return now, err
}

// check refuses marks that lack the one after which the lock was taken, if that is still held.
// Else this mark was rolled back.
func (w *inSetting) check(ctx context.Context, q SQL, m *Marks, now string) error {
	holds, err := parse(now)
	if err != nil || w.locked == 0 || holds.has(w.locked) {
		return err
	}
	const text = `SELECT count(*) > 0 FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted
AND objsubid = 1 AND (CAST(CAST(classid AS bigint) AS bit(32)) || CAST(CAST(objid AS bigint) AS bit(32))) = CAST(CAST(? AS bigint) AS bit(64))`
	var held bool
	if err := limit.QueryRow(ctx, q, m.text(text), w.key).Scan(&held); err != nil {
		return err
	}
	if held {
		return ErrReset
	}
	w.locked = 0
	return nil
}

func (w *inSetting) read(ctx context.Context, q SQL, m *Marks, remove bool) (string, error) {
	now, err := w.ask(ctx, q, m, `SELECT coalesce(current_setting('tracbus.marks', true), ''), CAST(extract(epoch FROM now()) AS text)`)
	if err == nil {
		err = w.check(ctx, q, m, now)
	}
	return now, err
}

func (w *inSetting) ask(ctx context.Context, q SQL, m *Marks, text string, args ...any) (string, error) {
	var whole, began string
	if err := limit.QueryRow(ctx, q, m.text(text), args...).Scan(&whole, &began); err != nil {
		return "", err
	}
	if w.began != "" && w.began != began {
		return "", ErrOther
	}
	w.whole, w.began = whole, began
	var own []string
	for _, part := range strings.Split(whole, ";") {
		if marks, ok := strings.CutPrefix(part, m.id+"="); ok {
			own = append(own, marks)
		}
	}
	return strings.Join(own, ","), nil
}

// with returns the setting as it is to be if it is as it was.
func (w *inSetting) with(id, marks string) string {
	parts := []string{id + "=" + marks}
	for _, part := range strings.Split(w.whole, ";") {
		if part != "" && !strings.HasPrefix(part, id+"=") {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ";")
}

// added returns what is added if not.
func (w *inSetting) added(id string, n int) string { return ";" + id + "=" + ranges{}.with(n) }
