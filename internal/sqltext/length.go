package sqltext

// MySQLLength returns how long values are at most in the text of a statement of MySQL, in
// which every second byte of a text may have to be escaped.
func MySQLLength(values []any) (n int64) {
	for _, v := range values {
		if text, ok := v.(string); ok {
			n += int64(len(text)) + escapes(text)
		}
		n += 30
	}
	return n
}

// escapes counts the bytes that take two in the text of a statement.
func escapes(s string) (n int64) {
	for i := range len(s) {
		switch s[i] {
		case 0, '\n', '\r', '\x1a', '\'', '"', '\\':
			n++
		}
	}
	return n
}
