package batch

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/store/insert"
)

// lockFor is [insert.LockSlot] for as many milliseconds as its first value says: the server itself gives up
// then, so that nothing is in doubt. The setting costs as much as storing a row, and so there is none for a
// caller who can wait.
const lockFor = "CASE WHEN set_config('lock_timeout', CAST(? AS text), true) IS NOT NULL THEN " + insert.LockSlot + " END"

// Why a batch is refused. The server says these texts, because it cannot be asked after the error.
const (
	refusedSession = "tracbus refuses the session"
	refusedTID     = "tracbus refuses the tid"
)

// refusal has a statement fail that takes no tid, so that nothing after it is run.
const refusal = "CASE WHEN " + insert.UTF8Session + " THEN '" + refusedTID + "' ELSE '" + refusedSession + ", whose client_encoding is ' || current_setting('client_encoding') END"

// statements returns those that lock slots of a class, each for most at most, and store rows: the tid goes
// into tid. Zero is for as long as it takes.
func statements(template string, class int64, slots []int64, rows [][]any, most time.Duration, tid *int64) (all []Statement) {
	lock, first := insert.LockSlot, []any(nil)
	if most > 0 {
		lock, first = lockFor, []any{strconv.FormatInt(max(most.Milliseconds(), 1), 10)}
	}
	last := len(slots) - 1 // which goes with the rows
	for i := range max(last, 0) {
		text := "SELECT " + strings.Replace(lock, "f.lock_class", "CAST(? AS integer)", 1)
		all = append(all, Statement{Text: text, Args: append(slices.Clip(first), class, slots[i])})
	}
	before, extra := "''", []any(nil)
	if last >= 0 {
		before, extra = lock, append(slices.Clip(first), slots[last])
	}
	text, args, rest := insert.Taking(template, before, insert.UTF8Session, refusal, extra, rows)
	all = append(all, Statement{Text: text, Args: args, Into: tid})
	for len(rest) > 0 {
		var b strings.Builder
		var some [][]any
		some, rest = insert.Split(rest)
		args := insert.Write(&b, nil, some, "currval('{journal_tid}'::regclass)")
		all = append(all, Statement{Text: b.String(), Args: args})
	}
	return all
}
