package guard

import "strings"

// leftOut stands where arguments were.
const leftOut = "[arguments left out]"

// CutArguments leaves out of an error the arguments of a command that a server
// quotes because it does not know the command, or does not like their number.
// The command stays.
func CutArguments(text string) string {
	lower := asciiLower(text)
	if i := strings.Index(lower, "args beginning with"); i >= 0 {
		return strings.TrimSuffix(strings.TrimSuffix(text[:i], "with "), ", ")
	}
	for _, words := range []string{"unknown command", "unsupported command", "unknown or unsupported command", "unknown cmd",
		"wrong number of arguments", "wrong number of args", "invalid command", "command not found", "unrecognized command"} {
		i := strings.Index(lower, words)
		if i < 0 {
			continue
		}
		from := i + len(words)
		return text[:from] + keepCommand(text[from:])
	}
	return text
}

// keepCommand keeps the first word between quotation marks, and what comes after
// it if nothing more is quoted.
func keepCommand(text string) string {
	const marks = "'\"`‘’“”"
	begin := strings.IndexAny(text, marks)
	if begin < 0 {
		if strings.ContainsAny(text, ":,") { // "unknown command: AUTH secret"
			return keepWord(text, strings.IndexAny(text, ":,")+1)
		}
		return keepWord(text, 0)
	}
	_, size := markAt(text, begin)
	end := begin + size
	for end < len(text) && isCommand(text[end]) {
		end++
	}
	_, closing := markAt(text, end)
	if closing == 0 {
		return text[:end] + " " + leftOut
	}
	end += closing
	if strings.ContainsAny(text[end:], marks) {
		return text[:end] + " " + leftOut
	}
	return text
}

// keepWord keeps the first word after an index. If there are more, only those of
// the phrase "for X command" are kept.
func keepWord(text string, from int) string {
	words := strings.Fields(text[from:])
	switch {
	case len(words) <= 1, len(words) == 3 && words[0] == "for" && words[2] == "command":
		return text
	case words[0] == "for" && len(words) > 1:
		return text[:from] + " for " + words[1] + " " + leftOut
	}
	return text[:from] + " " + words[0] + " " + leftOut
}

// markAt returns the quotation mark at an index, and how many bytes it has.
func markAt(text string, i int) (mark rune, size int) {
	for _, m := range "'\"`‘’“”" {
		if strings.HasPrefix(text[min(i, len(text)):], string(m)) {
			return m, len(string(m))
		}
	}
	return 0, 0
}

// isCommand says whether a command's name may have a character.
func isCommand(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("_.|-", c) >= 0
}

// asciiLower makes capital letters small, and changes no other byte.
func asciiLower(text string) string {
	b := []byte(text)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
