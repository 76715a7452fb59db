// Package docs_test builds the programs in the documentation that need a database
// driver, and runs those of README.md. The others are built in the root module.
package docs_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/docprogram"
)

// needsDriver says whether only this module can build a program, because of a driver or a system of metrics.
func needsDriver(p docprogram.Program) bool {
	return slices.ContainsFunc(p.Imports(), func(path string) bool {
		return strings.HasPrefix(path, "modernc.org/sqlite") || strings.HasPrefix(path, "github.com/jackc/pgx") ||
			strings.HasPrefix(path, "github.com/go-sql-driver/mysql") ||
			strings.HasPrefix(path, "go.opentelemetry.io/") || strings.HasPrefix(path, "github.com/prometheus/")
	})
}

func programs(t *testing.T) []docprogram.Program {
	t.Helper()
	docprogram.NotCached(t)
	root := filepath.Join("..", "..")
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	require.NoError(t, err)
	found, err := docprogram.Find(append(files, filepath.Join(root, "README.md"))...)
	require.NoError(t, err)
	return found
}

// The programs that open a database compile.
func TestProgramsBuild(t *testing.T) {
	var ours []docprogram.Program
	for _, p := range programs(t) {
		if needsDriver(p) {
			ours = append(ours, p)
		}
	}
	require.NotEmpty(t, ours)
	require.NoError(t, docprogram.Compile(".", t.TempDir(), ours))
}

// The first program of README.md, and the subscriber beside it, print what README.md
// says.
func TestReadmeRuns(t *testing.T) {
	var readme []docprogram.Program
	for _, p := range programs(t) {
		if filepath.Base(p.File) == "README.md" {
			readme = append(readme, p)
		}
	}
	require.Len(t, readme, 2)
	server := miniredis.RunT(t)
	var binaries []string
	for i, p := range readme {
		require.NotEmpty(t, p.Output, "README.md:%d: no output follows", p.Line)
		require.Contains(t, p.Source, "localhost:6379")
		scratch := t.TempDir()
		name := filepath.Join("readme", string(rune('a'+i)), "main.go")
		binary := filepath.Join(scratch, "program")
		tree := docprogram.Tree{filepath.ToSlash(name): strings.ReplaceAll(p.Source, "localhost:6379", server.Addr())}
		_, err := tree.Go(".", scratch, "build", "-o", binary, "./"+filepath.ToSlash(filepath.Dir(name)))
		require.NoError(t, err)
		binaries = append(binaries, binary)
	}

	heard := start(t, binaries[1])
	require.Eventually(t, func() bool { return strings.Contains(heard(), "\n") }, 20*time.Second, 10*time.Millisecond)
	tracker := start(t, binaries[0])
	assert.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, readme[0].Output, tracker())
		assert.Equal(c, readme[1].Output, heard())
	}, 20*time.Second, 20*time.Millisecond)
}

// start starts a program in a folder of its own, ends it with the test, and returns a
// function that reads what it has printed so far.
func start(t *testing.T, binary string) (printed func() string) {
	t.Helper()
	folder := t.TempDir()
	output, err := os.Create(filepath.Join(folder, "output"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, binary)
	command.Dir, command.Stdout = folder, output
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		cancel()
		_ = command.Wait() // it is killed, unless it has ended
		_ = output.Close()
	})
	return func() string {
		text, err := os.ReadFile(output.Name())
		require.NoError(t, err)
		return string(text)
	}
}
