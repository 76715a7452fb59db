package embed_test

import (
	"bufio"
	"io"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/docprogram"
)

// process is a program that runs.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	input io.Closer
	said  *bufio.Scanner
}

func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	input, err := cmd.StdinPipe()
	require.NoError(t, err)
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = complaints{t}
	cmd.WaitDelay = 10 * time.Second
	require.NoError(t, cmd.Start())
	return &process{t, cmd, input, bufio.NewScanner(output)}
}

// changes waits until the program has made some more changes.
func (p *process) changes(n int) {
	p.t.Helper()
	for range n {
		require.True(p.t, p.said.Scan(), "the program has ended")
	}
}

// kill ends it in the middle of what it does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	for p.said.Scan() { // what it still said
	}
	_ = p.cmd.Wait() // how it ended is known
}

// end has it end by itself.
func (p *process) end() {
	p.t.Helper()
	require.NoError(p.t, p.input.Close())
	for p.said.Scan() { // what it still says
	}
	require.NoError(p.t, p.cmd.Wait())
}

// complaints puts what a process says into the log of a test.
type complaints struct{ t *testing.T }

func (c complaints) Write(b []byte) (int, error) {
	c.t.Logf("%s", b)
	return len(b), nil
}

func tree(p program, source string) docprogram.Tree {
	return docprogram.Tree{p.name + "/main.go": source}
}
