package insert

import (
	"slices"
	"strings"
)

// What PostgreSQL's statements have in the places of BEFORE and IF.
const (
	LockSlot    = "pg_advisory_xact_lock(f.lock_class, CAST(? AS integer))"
	UTF8Session = "current_setting('client_encoding') IN ('UTF8', 'SQL_ASCII')"
)

// typed has a placeholder for each value, of which PostgreSQL cannot guess the type.
const typed = `CAST(? AS integer), CAST(? AS integer), CAST(? AS text), CAST(? AS text), CAST(? AS text), CAST(? AS text), CAST(? AS text), CAST(? AS bigint),
	CAST(? AS text), CAST(? AS text), CAST(? AS integer), CAST(? AS text), CAST(? AS text), CAST(? AS bigint), CAST(? AS text)`

// Taking returns PostgreSQL's statement that takes a tid, stores rows and answers the tid; and the
// rows that do not fit in. template is that of schema, with before and only in the places of BEFORE and IF,
// and extra are the values of these. If the tid is refused, it answers nothing; or, with
// orElse, which is an expression for a text that is no number, it fails and says that.
func Taking(template, before, only, orElse string, extra []any, rows [][]any) (text string, args []any, rest [][]any) {
	text = strings.NewReplacer("BEFORE", before, "IF", only, "TYPED", typed).Replace(template)
	args, rest = slices.Concat(rows[0], extra), rows[1:]
	if len(rest) == 0 && orElse == "" {
		return text, args, nil
	}
	text = "WITH t AS (" + text + ")"
	if len(rest) > 0 {
		var some [][]any
		some, rest = Split(rest)
		text += ", i AS (" + Into + "SELECT t.tid, v.* FROM t, (VALUES (" + typed + ")" +
			strings.Repeat(", (?"+strings.Repeat(", ?", Values-1)+")", len(some)-1) + ") v)"
		args = slices.Concat(append([][]any{args}, some...)...)
	}
	if orElse == "" {
		return text + " SELECT tid FROM t", args, rest
	}
	return text + " SELECT CAST(coalesce((SELECT CAST(tid AS text) FROM t), " + orElse + ") AS bigint)", args, rest
}
