// Package insert writes the statements that store changes. Its secret is how many rows one
// statement takes, and what it looks like.
package insert

import "strings"

// Into begins an INSERT of changes; Values is how many values there are after the tid.
const (
	Into   = `INSERT INTO {journal_change} (tid, seq, changes, commit_id, origin, realm, id, "change", time, author, ipnr, authenticated, env, comment, parts, document) `
	Values = 15
)

// chunk is how many values one statement may have; the databases' own limits
// are from 32,766 up.
const chunk = 10_000

// Split returns as many of the first rows as one statement takes, and the others.
func Split(rows [][]any) (first, rest [][]any) {
	bytes := 0
	for n, row := range rows[:min(len(rows), chunk/Values)] {
		bytes += length(row)
		if n > 0 && bytes > long {
			return rows[:n], rows[n:]
		}
	}
	n := min(len(rows), chunk/Values)
	return rows[:n], rows[n:]
}

// length returns how long the texts of a row are.
func length(row []any) (n int) {
	for _, v := range row {
		if text, ok := v.(string); ok {
			n += len(text)
		}
	}
	return n
}

// long is the length from which on rows go in statements of their own.
const long = 1 << 20

// Write appends an INSERT of rows, with tid in the place of the tid, and its
// values. If tid is a placeholder, value is its value, before each row's.
func Write(b *strings.Builder, args []any, rows [][]any, tid string, value ...any) []any {
	b.WriteString(Into + "VALUES ")
	row := "(" + tid + strings.Repeat(", ?", Values) + ")"
	for i, values := range rows {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(row)
		args = append(append(args, value...), values...)
	}
	return args
}
