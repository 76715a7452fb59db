package turns

import "strings"

// plainWords begin statements that change nothing but rows, in tables that are as before.
// What they do to the transaction is seen at its end.
var plainWords = []string{"SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES", "SAVEPOINT", "RELEASE", "ROLLBACK TO"}

// plainWord returns the word that a statement begins with, if it surely leaves the session and
// the tables as they are; else "". A pragma can have foreign keys looked at in COMMIT alone,
// which stays so until that, and there is no telling whose work it is that then fails: after
// what is not plain, nobody else's is added.
func plainWord(query string) string {
	query = strings.TrimRight(query, "; \t\r\n")
	if strings.IndexByte(query, ';') >= 0 {
		return ""
	}
	for {
		query = strings.TrimLeft(query, " \t\r\n")
		comment := strings.HasPrefix(query, "--")
		end := strings.IndexByte(query, '\n')
		if !comment || end < 0 {
			break
		}
		query = query[end+1:]
	}
	for _, word := range plainWords {
		if len(query) > len(word) && strings.EqualFold(query[:len(word)], word) && !isLetter(query[len(word)]) {
			return word
		}
	}
	return ""
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
