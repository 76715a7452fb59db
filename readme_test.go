package tracbus_test

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

// blocksOf returns README.md's blocks of a language.
func blocksOf(t *testing.T, language string) []string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(readme, -1) {
		blocks = append(blocks, string(m[1]))
	}
	require.NotEmpty(t, blocks)
	return blocks
}

// The code in README.md is code in the examples, which compile and run.
func TestReadmeCodeRuns(t *testing.T) {
	var examples []byte
	names, err := filepath.Glob("example*_test.go")
	require.NoError(t, err)
	for _, name := range names {
		file, err := os.ReadFile(name)
		require.NoError(t, err)
		examples = append(examples, file...)
	}
	for _, block := range blocksOf(t, "go") {
		indented := regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(block, "\t$1")
		deeper := regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(indented, "\t$1")
		if !strings.Contains(string(examples), indented) && !strings.Contains(string(examples), deeper) {
			t.Errorf("README.md has code that is in no example:\n%s", block)
		}
	}
}

// The messages in README.md are what a publisher sends for what a subscriber
// understands.
func TestReadmeMessagesAreReal(t *testing.T) {
	kinds := map[string]bool{}
	for _, line := range strings.Split(strings.Join(blocksOf(t, "text"), ""), "\n") {
		channel, payload, ok := strings.Cut(line, " {")
		if !ok {
			continue
		}
		payload = "{" + payload
		e, err := tracbus.Decode(tracbus.DefaultPrefix, channel, payload)
		require.NoError(t, err, "%s", line)
		gotChannel, gotPayload, err := tracbus.PublisherConfig{}.Encode(e)
		require.NoError(t, err, "%s", line)
		assert.Equal(t, channel, gotChannel)
		assert.Equal(t, payload, gotPayload)
		kinds[string(e.Resource().Realm)+"."+string(e.Kind())] = true
	}
	assert.Len(t, kinds, 6)
}

// README.md promises what the package comment promises, in its words.
func TestReadmePromisesWhatThePackageDoes(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	require.NoError(t, err)
	_, promises, ok := strings.Cut(file.Doc.Text(), "# Guarantees\n")
	require.True(t, ok, "doc.go has no Guarantees")
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	words := func(text string) string { // without the marks of links and code
		return strings.Join(strings.Fields(regexp.MustCompile("[][`#]").ReplaceAllString(text, "")), " ")
	}
	for _, sentence := range regexp.MustCompile(`\n\n|\n *- `).Split(promises, -1) {
		if !strings.Contains(words(string(readme)), words(sentence)) {
			t.Errorf("doc.go says what README.md does not:\n%s", words(sentence))
		}
	}
}
