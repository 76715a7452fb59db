package tracdb

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
)

// optionFileOf reads the file that read_default_file names, the section [client] or
// that of read_default_group, as PyMySQL does: names in lower case, quotes taken off,
// one level, no !include.
func optionFileOf(u uri) (map[string]string, error) {
	path, group := u.param("read_default_file"), u.param("read_default_group")
	switch {
	case path == "" && group == "":
		return nil, nil
	case path == "":
		path = "/etc/my.cnf"
	}
	if rest, home := strings.CutPrefix(path, "~/"); home {
		folder, err := os.UserHomeDir()
		if err != nil {
			return nil, wrong("read_default_file: %w", err)
		}
		path = filepath.Join(folder, rest)
	}
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) { // PyMySQL passes over it
		return nil, nil
	}
	if err != nil {
		return nil, wrong("read_default_file: %w", err)
	}
	return parseOptions(string(text), cmp.Or(group, "client")), nil
}

// parseOptions returns the options of a group.
func parseOptions(text, group string) map[string]string {
	options, in := map[string]string{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") || strings.HasPrefix(line, "!"):
		case strings.HasPrefix(line, "[") && strings.Contains(line, "]"):
			in, _, _ = strings.Cut(line[1:], "]")
		case in == group:
			name, value := line, "" // an option may have no value
			if at := strings.IndexAny(line, "=:"); at >= 0 {
				name, value = line[:at], line[at+1:]
			}
			options[strings.ToLower(strings.TrimSpace(name))] = unquoted(strings.TrimSpace(value))
		}
	}
	return options
}

// unquoted takes one pair of quotes off.
func unquoted(s string) string {
	for _, quote := range []string{"'", `"`} {
		if len(s) >= 2 && strings.HasPrefix(s, quote) && strings.HasSuffix(s, quote) {
			return s[1 : len(s)-1]
		}
	}
	return s
}
