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
)

// message is what a subscriber receives.
type message struct{ channel, payload string }

// TestQuickstart runs the program and compares what it prints: channel and
// payload of four messages with what the original plugin sent in the same story,
// and of both deletions, which it does not send, with what stands here.
func TestQuickstart(t *testing.T) {
	program := filepath.Join(t.TempDir(), "quickstart.exe")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	built, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", built)

	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, program)
	cmd.Stderr = &said
	printed, err := cmd.Output()
	require.NoError(t, err, "%s", said.Bytes())

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
	blocks := strings.Split(strings.TrimSpace(string(printed)), "\n\n")
	require.Len(t, blocks, len(want), "%s", printed)
	for i, block := range blocks {
		channel, payload, _ := strings.Cut(block, "\n")
		assert.Equal(t, want[i].channel, channel)
		assert.JSONEq(t, want[i].payload, payload, "%s", channel)
	}
	assert.Empty(t, said.String())
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
