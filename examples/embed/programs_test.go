package embed_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// program is an application of this folder.
type program struct {
	name, dialect string
}

var programs = []program{
	{"sqlx", "postgresql"}, {"gorm", "postgresql"}, {"pgx", "postgresql"}, {"ent", "postgresql"},
	{"bun", "mysql"}, {"sqlc", "mysql"}, {"xorm", "sqlite"},
}

func (p program) source(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.name, "main.go"))
	require.NoError(t, err)
	return string(text)
}

// build builds the program, with another source if that is not empty, and returns its file.
func (p program) build(t *testing.T, source string) string {
	t.Helper()
	scratch := t.TempDir()
	binary := filepath.Join(scratch, p.name)
	if source == "" {
		source = p.source(t)
	}
	_, err := tree(p, source).Go(".", scratch, "build", "-o", binary, "./"+p.name)
	require.NoError(t, err)
	return binary
}

// start starts the program on a database. It ends when its standard input is closed.
func start(t *testing.T, binary, database, redis string, args ...string) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), "DATABASE="+database, "REDIS="+redis)
	return startCommand(t, cmd)
}
