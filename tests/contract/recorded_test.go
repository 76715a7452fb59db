package contract

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recordedAs names the channel for each call that was recorded from the plugin.
var recordedAs = map[string]string{
	"ticket_created": "ticketCreated", "ticket_changed": "ticketChanged", "ticket_deleted": "ticketDeleted",
	"wiki_page_added": "wikiPageCreated", "wiki_page_changed": "wikiPageChanged", "wiki_page_deleted": "wikiPageDeleted",
}

// What the plugin sent is what the document says, but for values that this library
// refuses or writes in another way.
func TestRecordedMessages(t *testing.T) {
	c := readContract(t)
	file, err := os.Open(filepath.Join(root, "testdata", "vectors.jsonl"))
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 64<<20)
	valid, refused := 0, map[string]string{}
	for lines.Scan() {
		var v struct {
			ID, Prefix, Env, Channel string
			Call                     struct{ Method string }
			Data                     string `json:"data_raw"`
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &v))
		ch := c.channels[recordedAs[v.Call.Method]]
		assert.True(t, ch.matches(v.Channel, v.Prefix, v.Env), "%s: channel %q is no %s", v.ID, v.Channel, ch.address)
		if err := c.check(ch.message, parsed(t, v.Data)); err != nil {
			refused[v.ID] = err.Error()
		} else {
			valid++
		}
	}
	require.NoError(t, lines.Err())
	assert.Equal(t, 515, valid)
	require.Len(t, refused, 2)
	assert.Contains(t, refused["0.2dev/tc-49-raw-list"], "at '/x_list': got array", "no field of a ticket holds a list")
	assert.Contains(t, refused["0.2dev/wc-13-readonly-true"], "at '/readonly': got boolean", "it is 0 or 1 here")
}
