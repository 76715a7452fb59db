package mark

import (
	"context"
	"strings"

	"github.com/tracbus/tracbus/internal/limit"
)

// inSetting keeps marks in a setting of PostgreSQL that is local to the transaction: to roll
// back to a savepoint puts it back to what it was, and to release one keeps it. It has a part
// for each transaction of the library in the one of the database, such as "id=1-5;other=1".
// Outside of a transaction it is lost at once, and the time at which a transaction began
// tells it from every other.
type inSetting struct {
	whole string // the setting as it was last
	began string
}

func (w *inSetting) extend(ctx context.Context, q SQL, m *Marks, n int) (string, error) {
	const text = `SELECT set_config('tracbus.marks', CASE WHEN s.now = CAST(? AS text) THEN CAST(? AS text) ELSE s.now || CAST(? AS text) END, true), CAST(extract(epoch FROM now()) AS text)
FROM (SELECT coalesce(current_setting('tracbus.marks', true), '') AS now) s`
	return w.ask(ctx, q, m, text, w.whole, w.with(m.id, m.holds.with(n)), w.added(m.id, n))
}

func (w *inSetting) read(ctx context.Context, q SQL, m *Marks, remove bool) (string, error) {
	return w.ask(ctx, q, m, `SELECT coalesce(current_setting('tracbus.marks', true), ''), CAST(extract(epoch FROM now()) AS text)`)
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
