package tracini

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testkit"
)

// TestCostOfReadingIsLinear: a MiB of lines that continue a value was 25 s and 118 GB,
// and 100,000 options in [DEFAULT] took 45 s. What is allocated grows with the file.
func TestCostOfReadingIsLinear(t *testing.T) {
	testkit.MeasuresMemory(t)
	for name, text := range map[string]func(size int) string{
		"lines that continue a value": func(size int) string {
			return "[redispub]\nprefix = a\n" + strings.Repeat(" x\n", size/3)
		},
		"empty lines": func(size int) string { return "[redispub]\nprefix = a\n" + strings.Repeat("\n", size) },
		"options in DEFAULT": func(size int) string {
			return "[redispub]\na = b\n[ticket-custom]\nx = text\n[DEFAULT]\n" + numbered(size, "o%d=\n")
		},
		"custom fields":    func(size int) string { return "[ticket-custom]\n" + numbered(size, "o%d=text\n") },
		"options, unknown": func(size int) string { return "[redispub]\n" + numbered(size, "o%d=\n") },
		"fields, unknown":  func(size int) string { return "[ticket-custom]\n" + numbered(size, "o%d=\n") },
		"sections":         func(size int) string { return numbered(size, "[s%d]\n") },
		"spaces":           func(size int) string { return "[s]\na=" + strings.Repeat(" ", size) + "b" },
		"one value":        func(size int) string { return "[redispub]\na=" + strings.Repeat("b,", size/2) },
	} {
		read := func(size int) uint64 {
			file := filepath.Join(t.TempDir(), "trac.ini")
			require.NoError(t, os.WriteFile(file, []byte(text(size)), 0o600))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			c, err := Load(file)
			require.NoError(t, err, name)
			found := &Findings{}
			c.Section("ticket-custom", found).TicketFields()
			s := c.Section("redispub", found)
			s.WarnOfUnknown()
			s.Enabled("tracext.redispub.redis.redisclient")
			runtime.ReadMemStats(&after)
			return after.TotalAlloc - before.TotalAlloc
		}
		small, large := read(64<<10), read(1<<20-64)
		t.Logf("%s: %d KiB for 64 KiB, %d KiB for 1 MiB", name, small>>10, large>>10)
		assert.LessOrEqual(t, large, 24*small, "%s: it is 16 times the text", name)
		assert.LessOrEqual(t, large, uint64(512<<20), "%s: some 2 KiB for a line of 4 bytes", name)
	}
}

// numbered returns lines with a number in each.
func numbered(size int, format string) string {
	var s strings.Builder
	for i := 0; s.Len() < size-20; i++ {
		fmt.Fprintf(&s, format, i)
	}
	return s.String()
}

// TestCostOfFilesHasALargestSize: what is larger than any trac.ini is not read.
func TestCostOfFilesHasALargestSize(t *testing.T) {
	security, err := os.ReadFile("../../SECURITY.md")
	require.NoError(t, err)
	assert.Contains(t, string(security), fmt.Sprintf("| %d MiB; %d,000 names of files |", mostBytes>>20, mostNames/1000))

	dir := t.TempDir()
	write := func(name string, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	comment := strings.Repeat("# comment\n", mostBytes/10)
	most := comment + strings.Repeat("#", mostBytes-len(comment))
	_, err = Load(write("most.ini", most))
	assert.NoError(t, err)
	large := write("large.ini", most+"#")
	_, err = Load(large)
	assert.Equal(t, &Error{File: large, Want: "1024 KiB at most, with all files that inherit it or are inherited"}, err)
	_, err = Load(write("inherits.ini", "[inherit]\nfile = most.ini\n"))
	assert.Equal(t, &Error{File: dir + "/most.ini", Want: "1024 KiB at most, with all files that inherit it or are inherited"}, err)

	names := write("names.ini", "[inherit]\nfile = "+strings.Repeat("x,", mostNames)+"\n")
	c, err := Load(names)
	require.NoError(t, err)
	assert.Len(t, c.Missing, mostNames)
	names = write("names.ini", "[inherit]\nfile = "+strings.Repeat("x,", mostNames+1)+"\n")
	_, err = Load(names)
	assert.Equal(t, &Error{File: names, Line: 2, Section: "inherit", Option: "file", Want: "1000 names of files at most, with those that they inherit"}, err)
}
