package contract

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/docprogram"
)

// AsyncAPI's own parser finds nothing wrong with the document, and finds what is spoiled.
func TestParser(t *testing.T) {
	docprogram.NotCached(t)
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	spoiled, want := string(text), []string(nil)
	spoil := func(from, to, finding string) {
		require.Contains(t, spoiled, from)
		spoiled = strings.Replace(spoiled, from, to, 1)
		want = append(want, finding)
	}
	spoil("address: '{prefix}", "adress: '{prefix}", `0 asyncapi-document-resolved channels/ticketCreated/adress`)
	spoil("$ref: '#/channels/ticketChanged'", "$ref: '#/channels/ticketChange'", "0 invalid-ref operations/sendTicketChanged")
	spoil("type: [string, number", "type: [text, number", "0 asyncapi-document-resolved components/schemas/FieldValue")

	input, err := json.Marshal([]string{string(text), spoiled})
	require.NoError(t, err)
	command := exec.Command(node(t), filepath.Join(npm, "parse.js"))
	var errs strings.Builder
	command.Stdin, command.Stderr = bytes.NewReader(input), &errs
	output, err := command.Output()
	require.NoError(t, err, "%s", &errs)
	var findings [][]string
	require.NoError(t, json.Unmarshal(output, &findings), "%s", output)
	require.Len(t, findings, 2)
	for _, f := range findings[0] {
		assert.True(t, strings.HasPrefix(f, "2 asyncapi-latest-version "), "%s", f) // 3.0 is what most programs read
	}
	for _, w := range want {
		assert.Contains(t, strings.Join(findings[1], "\n"), w)
	}
}
