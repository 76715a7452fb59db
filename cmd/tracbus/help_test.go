package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The help of each command has its flags and no others, an example, and -json where
// something is printed; docs/relay.md names the command.
func TestHelpHasEveryFlag(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "relay.md"))
	require.NoError(t, err)
	for _, c := range commands() {
		var want []string
		flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
		c.prepare(flags)
		flags.VisitAll(func(f *flag.Flag) { want = append(want, f.Name) })
		var got []string
		for _, m := range regexp.MustCompile(`(?m)^  -([a-z-]+)\b`).FindAllStringSubmatch(c.usage, -1) {
			got = append(got, m[1])
		}
		slices.Sort(got)
		assert.Equal(t, want, got, c.name)
		assert.Regexp(t, `(?m)^  tracbus `+c.name+` `, c.usage, "an example")
		assert.True(t, c.name == "relay" || slices.Contains(want, "json"), c.name)
		assert.Contains(t, string(page), "`tracbus "+c.name)
		for line := range strings.Lines(c.usage) {
			assert.LessOrEqual(t, len([]rune(line)), 101, "%s: %s", c.name, line)
		}

		var out, errs bytes.Buffer
		assert.Equal(t, exitDone, run(t.Context(), &terminal{&out, &errs}, []string{c.name, "-help"}))
		assert.Equal(t, c.usage, out.String())
		out.Reset()
		assert.Equal(t, exitDone, run(t.Context(), &terminal{&out, &errs}, []string{"help", c.name}))
		assert.Equal(t, c.usage, out.String())
		assert.Contains(t, overview(), "  "+c.name+" ")
		assert.Empty(t, errs.String())
	}
}

// Every code of a problem is in the help of status and in docs/relay.md.
func TestProblemsAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "relay.md"))
	require.NoError(t, err)
	found := map[string]bool{}
	for _, name := range []string{"status.go", "capture.go"} {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`\.wrong\("(\w+)"`).FindAllStringSubmatch(string(source), -1) {
			found[m[1]] = true
			assert.Regexp(t, `(?m)^  `+m[1]+` `, statusUsage)
			assert.Contains(t, string(page), "`"+m[1]+"`")
		}
	}
	assert.Len(t, found, 9)
}

// A command line that cannot work ends with code 2, before anything is opened, and with
// no word of it that may be a password.
func TestBadCommandLines(t *testing.T) {
	t.Setenv("TRAC_ENV", "")
	for _, line := range []string{
		"", "publish", "relay", "relay -trac", "relay -trac x y", "relay -trac x -consumer a/b", "relay -trac x -log xml", "relay -trac x -grace 0s",
		"relay -trac x -grace redis://:hunter2@h", "relay -trac x -poll -1s", "relay -redis redis://:hunter2@h",
		"tail -from journal", "tail -from elsewhere", "tail -redis redis://:hunter2@h", "tail -redis redis://h:x", "tail -since 0", "tail -from stream", "tail -from stream -since x",
		"tail -from stream -stream k -since 1-x", "tail -trac x -from journal a*", "tail -trac x -from journal -since -1", "tail -filter /created", "tail -filter ticket/", "tail -n -1", "tail -poll 0s",
		"status", "status -trac x y", "history -trac x ticket", "history -trac x repository 1", "history -trac x -n -1 ticket 1", "prune -trac x", "prune -trac x -keep-for 0d", "prune -trac x -keep-for 90 days",
		"prune -trac x -keep-last 0", "prune -trac x -keep-last -1", "dead-letters -trac x 1.0", "dead-letters list -trac x 1.0", "dead-letters show -trac x 1.0", "dead-letters show -trac x -consumer a",
		"dead-letters show -trac x -consumer a -all", "dead-letters redeliver -trac x -consumer a", "dead-letters redeliver -trac x -consumer a -all 1.0", "dead-letters discard -trac x -consumer a one",
		"schema", "schema -dialect oracle", "schema -schema x", "schema -dialect sqlite -part none", "schema -dialect sqlite x", "uninstall -trac x", "uninstall -trac x -yes y",
	} {
		var out, errs bytes.Buffer
		assert.Equal(t, exitSettings, run(t.Context(), &terminal{&out, &errs}, strings.Fields(line)), "%s: %s", line, &errs)
		assert.Empty(t, out.String(), line)
		assert.NotContains(t, errs.String(), "hunter2", line)
		assert.Regexp(t, `^tracbus: .*\n$`, errs.String(), line)
	}
}

// Flags may stand before and after other words, and what follows -- is a word.
func TestWordsAndFlags(t *testing.T) {
	for line, want := range map[string]string{
		"-n 1 a b": "1 a b", "a -n 1 b": "1 a b", "a b -n 1": "1 a b", "a -n=1 -- -b -n 2": "1 a -b -n 2", "-- -a": "0 -a", "-n 1": "1",
	} {
		got := ""
		c := command{"x", "", "", func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
			n := flags.Int("n", 0, "")
			return func(_ context.Context, _ *terminal, words []string) error {
				got = strings.TrimSpace(strconv.Itoa(*n) + " " + strings.Join(words, " "))
				return nil
			}
		}}
		require.NoError(t, c.run(t.Context(), &terminal{}, strings.Fields(line)))
		assert.Equal(t, want, got, line)
	}
}
