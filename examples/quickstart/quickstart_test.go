package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// message is what a subscriber receives.
type message struct{ channel, payload string }

// TestQuickstart runs the program without any set-up, and on the servers that its
// flags name.
func TestQuickstart(t *testing.T) {
	program := filepath.Join(t.TempDir(), "quickstart.exe")
	built, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", built)
	t.Run("no set-up", func(t *testing.T) { checkStory(t, printed(t, program)) })
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		redis := testserver.Redis(t, testserver.RedisOptions{})
		checkStory(t, printed(t, program, "-redis", "redis://"+redis.Addr(), "-dialect", s.Dialect, "-db", s.DSN(s.Name())))
	})
}

// printed returns what the program prints.
func printed(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = &said
	printed, err := cmd.Output()
	require.NoError(t, err, "%s", said.Bytes())
	assert.Empty(t, said.String())
	return string(printed)
}

// checkStory compares what was printed: four messages with what the original
// plugin sent in the same story, and the rest, which it does not have, with what
// stands here.
func checkStory(t *testing.T, printed string) {
	t.Helper()
	want := []message{
		recorded(t, "0.2dev/wc-01-readme"),
		recorded(t, "0.2dev/wg-01-readme"),
		recorded(t, "0.2dev/tc-03-readme-like"),
		recorded(t, "0.1/tg-01-readme-milestone"),
		{"trac.test.wiki.deleted", `{"name": "NewWikiPage", "version": 2, "time": "2020-01-02T03:05:00.123456+00:00",
			"author": "anonymous", "text": "Page contents.\r\nAdditional contents.", "comment": "Editing page.", "readonly": 0}`},
		{"trac.test.ticket.deleted", `{"id": 1, "summary": "Test ticket", "description": "Problem description.",
			"type": "defect", "priority": "major", "component": "component1", "milestone": "milestone1",
			"version": "", "keywords": "", "cc": "", "reporter": "anonymous", "owner": "somebody",
			"time": "2020-01-02T03:04:05.000006+00:00", "changetime": "2020-01-02T03:05:00.123456+00:00"}`},
	}
	blocks := strings.Split(strings.TrimSpace(printed), "\n\n")
	require.Len(t, blocks, len(want)+3, "%s", printed)
	for i, want := range want {
		channel, payload, _ := strings.Cut(blocks[i], "\n")
		assert.Equal(t, want.channel, channel)
		assert.Equal(t, members(t, want.payload), members(t, payload), "%s", channel)
	}
	assert.Equal(t, []string{
		`The process that made the changes was told:
  tid 1, primary: wiki NewWikiPage created
  tid 2, primary: wiki NewWikiPage changed
  tid 3, primary: ticket 1 created
  tid 4, primary: ticket 1 changed
  tid 5, primary: wiki NewWikiPage deleted
  tid 6, primary: ticket 1 deleted`,
		`Another process was told:
  tid 1, secondary: wiki NewWikiPage created
  tid 2, secondary: wiki NewWikiPage changed
  tid 3, secondary: ticket 1 created
  tid 4, secondary: ticket 1 changed
  tid 5, secondary: wiki NewWikiPage deleted
  tid 6, secondary: ticket 1 deleted`,
		`Who changed ticket 1, says the journal:
  tid 3: created by anonymous from 192.0.2.17, signed in: false
  tid 4: changed by anonymous from 192.0.2.17, signed in: false: map[milestone:milestone1], before map[milestone:]
  tid 6: deleted by anonymous from 192.0.2.17, signed in: false`,
	}, blocks[len(want):])
}

// members returns a payload's members but for those that every run has another
// value of, and for three fields that the Trac of the recording did not have.
func members(t *testing.T, payload string) map[string]any {
	t.Helper()
	var all map[string]any
	require.NoError(t, json.Unmarshal([]byte(payload), &all), "%s", payload)
	for _, name := range []string{"time", "changetime"} {
		if at, ok := all[name]; ok {
			assert.Regexp(t, `^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00$`, at)
			all[name] = "a time"
		}
	}
	for name, initial := range map[string]string{"status": "new", "severity": "", "resolution": ""} {
		if v, ok := all[name]; ok {
			assert.Equal(t, initial, v, "%s", name)
			delete(all, name)
		}
	}
	return all
}

// recorded returns a message of the original plugin.
func recorded(t *testing.T, id string) message {
	t.Helper()
	f, err := os.Open("../../testdata/vectors.jsonl")
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var v struct {
			ID      string
			Channel string
			Data    string `json:"data_raw"`
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &v))
		if v.ID == id {
			return message{v.Channel, v.Data}
		}
	}
	require.FailNow(t, "there is no recorded message "+id)
	return message{}
}
