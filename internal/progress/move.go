package progress

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Move moves the cursor of a consumer, under its holder's lease.
type Move struct {
	Claim
	From, To Cursor
}

// MoveCursors moves cursors in one statement, each from where its holder left it, and
// renews the leases, which last equally long. It returns how many it has moved: a lease
// that is not the holder's any more (see [Tables.RenewLeases]) moves nothing, and neither
// does a cursor that is not where it was left, whose lease is not renewed: the
// database was restored from an older copy. One does not keep another from moving. After an
// error cursors may have moved.
func (t *Tables) MoveCursors(ctx context.Context, lease time.Duration, moves []Move) (moved int64, err error) {
	text, args := t.moving(lease, moves)
	whole := slices.ContainsFunc(moves, func(m Move) bool { return !m.To.Partial })
	if moved, done := t.moveWithin(ctx, whole, text, args); done {
		return moved, nil
	}
	names := make([]string, len(moves))
	for i, m := range moves {
		names[i] = m.Name
	}
	moved, err = t.update(ctx, names, text, args...)
	if err == nil && moved > 0 {
		t.mover.reachedDisk()
	}
	return moved, err
}

// moving returns the UPDATE that makes moves. With arrays it is the same text for any
// number of them, so that drivers need not prepare each.
func (t *Tables) moving(lease time.Duration, moves []Move) (text string, args []any) {
	if len(moves) > 1 && t.store.Arrays() {
		return moveByArrays, append([]any{lease.Microseconds()}, arrays(moves)...)
	}
	return moveByCases(lease, moves)
}

// moveByArrays has as values the lease, and one array for each column of m.
const moveByArrays = `UPDATE {journal_consumer} AS c SET tid = m.tid, commit_id = m.commit_id, seq = m.seq, partial = m.partial, heartbeat = c.heartbeat + 1, expires = {NOW} + ?
FROM unnest(CAST(CAST(? AS text) AS text[]), CAST(CAST(? AS text) AS bigint[]),
	CAST(CAST(? AS text) AS bigint[]), CAST(CAST(? AS text) AS text[]), CAST(CAST(? AS text) AS int[]), CAST(CAST(? AS text) AS int[]),
	CAST(CAST(? AS text) AS bigint[]), CAST(CAST(? AS text) AS text[]), CAST(CAST(? AS text) AS int[]), CAST(CAST(? AS text) AS int[]))
	AS m (name, token, from_tid, from_commit_id, from_seq, from_partial, tid, commit_id, seq, partial)
WHERE c.holder <> '' AND c.name = m.name AND c.token = m.token AND c.tid = m.from_tid AND c.commit_id = m.from_commit_id AND c.seq = m.from_seq AND c.partial = m.from_partial`

// arrays returns the columns of moves as texts, which any driver can send.
func arrays(moves []Move) []any {
	columns := make([][]byte, 10)
	for i := range columns {
		columns[i] = append(columns[i], '{')
	}
	for i, m := range moves {
		if i > 0 {
			for i := range columns {
				columns[i] = append(columns[i], ',')
			}
		}
		columns[0] = appendText(columns[0], m.Name)
		columns[1] = strconv.AppendInt(columns[1], m.Token, 10)
		for i, c := range []Cursor{m.From, m.To} {
			seq, partial := c.columns()
			at := 2 + 4*i
			columns[at] = strconv.AppendInt(columns[at], c.TID, 10)
			columns[at+1] = appendText(columns[at+1], c.CommitID)
			columns[at+2] = strconv.AppendInt(columns[at+2], int64(seq), 10)
			columns[at+3] = strconv.AppendInt(columns[at+3], int64(partial), 10)
		}
	}
	args := make([]any, len(columns))
	for i, column := range columns {
		args[i] = string(append(column, '}'))
	}
	return args
}

// appendText appends an element of an array.
func appendText(to []byte, text string) []byte {
	to = append(to, '"')
	for i := range len(text) {
		if text[i] == '"' || text[i] == '\\' {
			to = append(to, '\\')
		}
		to = append(to, text[i])
	}
	return append(to, '"')
}

// moveByCases is for moves of few different kinds.
func moveByCases(lease time.Duration, moves []Move) (text string, args []any) {
	type kind struct{ from, to Cursor }
	var kinds []kind
	claims := map[kind][]Claim{}
	for _, m := range moves {
		k := kind{m.From, m.To}
		if claims[k] == nil {
			kinds = append(kinds, k)
		}
		claims[k] = append(claims[k], m.Claim)
	}
	// MySQL assigns from left to right, and a tid that is assigned is no longer the one
	// that the row had: so that comes last.
	var set strings.Builder
	for _, column := range []string{"commit_id", "seq", "partial", "tid"} {
		if len(kinds) == 1 {
			set.WriteString(column + " = ?, ")
			args = append(args, kinds[0].to.column(column))
			continue
		}
		set.WriteString(column + " = CASE")
		for _, k := range kinds {
			set.WriteString(" WHEN tid = ?")
			args = append(args, k.from.TID)
			if slices.ContainsFunc(kinds, func(other kind) bool { return other != k && other.from.TID == k.from.TID }) {
				list, names := in(namesOf(claims[k]))
				set.WriteString(" AND name IN " + list)
				args = append(args, names...)
			}
			set.WriteString(" THEN ?")
			args = append(args, k.to.column(column))
		}
		set.WriteString(" END, ")
	}
	args = append(args, lease.Microseconds())
	which := make([]string, len(kinds))
	for i, k := range kinds {
		text, values := claimed(claims[k])
		seq, partial := k.from.columns()
		which[i] = "tid = ? AND commit_id = ? AND seq = ? AND partial = ? AND " + text
		args = append(append(args, k.from.TID, k.from.CommitID, seq, partial), values...)
	}
	return "UPDATE {journal_consumer} SET " + set.String() + "heartbeat = heartbeat + 1, expires = {NOW} + ?\nWHERE holder <> '' AND (" + strings.Join(which, " OR ") + ")", args
}
