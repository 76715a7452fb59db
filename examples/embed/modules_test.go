package embed_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/docprogram"
)

// module is an application's own module, in a folder of its own.
type module struct {
	t      *testing.T
	folder string
}

func newModule(t *testing.T, program string) *module {
	t.Helper()
	m := &module{t, t.TempDir()}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(m.folder, "main.go"), []byte(program), 0o600))
	m.run("mod", "init", "application")
	m.run("mod", "edit", "-replace", "github.com/tracbus/tracbus="+root)
	return m
}

// run runs the go command in the module, and returns what it prints.
func (m *module) run(args ...string) string {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), "go", args...)
	cmd.Dir = m.folder
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	require.NoError(m.t, err, "go %s: %s", args, said.String())
	return string(out)
}

// all returns all modules that have a say in the versions of the module, as go list -m all does.
func (m *module) all() (paths []string) {
	m.t.Helper()
	return strings.Fields(m.run("list", "-m", "-f", "{{if not .Main}}{{.Path}}{{end}}", "all"))
}

// named returns what the go.mod names: modules and versions.
func (m *module) named() map[string]string {
	m.t.Helper()
	var file struct {
		Require []struct{ Path, Version string }
	}
	require.NoError(m.t, json.Unmarshal([]byte(m.run("mod", "edit", "-json")), &file))
	all := map[string]string{}
	for _, r := range file.Require {
		all[r.Path] = r.Version
	}
	return all
}

const bare = `package main

import "github.com/tracbus/tracbus"

func main() { tracbus.NewBus("application") }
`

// A module that requires tracbus alone gets the client of Redis, what the tests of tracbus use, and
// what these need: no driver, no framework.
func TestModulesOfAnApplication(t *testing.T) {
	docprogram.NotCached(t)
	m := newModule(t, bare)
	m.run("mod", "edit", "-require", "github.com/tracbus/tracbus@v0.0.0")
	m.run("mod", "tidy")
	assert.ElementsMatch(t, modules, m.all())
	built := m.run("list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".")
	for _, path := range []string{"testify", "miniredis"} {
		assert.NotContains(t, built, path, "a program links it")
	}
}

// modules are all that go list -m all names. No driver is among them.
var modules = []string{
	"github.com/tracbus/tracbus",
	"github.com/redis/go-redis/v9", "github.com/cespare/xxhash/v2", "go.uber.org/atomic",
	"github.com/klauspost/cpuid/v2", "github.com/zeebo/xxh3", "github.com/bsm/ginkgo/v2", "github.com/bsm/gomega", // go-redis, for its tests
	"github.com/stretchr/testify", "go.yaml.in/yaml/v3",
	"github.com/alicebob/miniredis/v2", "github.com/yuin/gopher-lua",
	"golang.org/x/sys",
}

// An application keeps the versions of its drivers, which are older than those that tracbus is tested
// with.
func TestAnApplicationKeepsItsDrivers(t *testing.T) {
	docprogram.NotCached(t)
	own := map[string]string{
		"github.com/jackc/pgx/v5":        "v5.6.0",
		"github.com/go-sql-driver/mysql": "v1.8.1",
		"modernc.org/sqlite":             "v1.30.0",
		"github.com/jmoiron/sqlx":        "v1.3.5",
		"gorm.io/gorm":                   "v1.25.0",
	}
	var program strings.Builder
	program.WriteString("package main\n\nimport (\n")
	for path := range own {
		program.WriteString("\t_ \"" + path + "\"\n")
	}
	program.WriteString(")\n\nfunc main() {}\n")
	m := newModule(t, program.String())
	for path, version := range own {
		m.run("mod", "edit", "-require", path+"@"+version)
	}
	m.run("mod", "tidy")
	before := m.named()
	for path, version := range own {
		require.Equal(t, version, before[path])
	}

	require.NoError(t, os.WriteFile(filepath.Join(m.folder, "bus.go"), []byte(strings.Replace(bare, "func main", "func bus", 1)), 0o600))
	m.run("mod", "edit", "-require", "github.com/tracbus/tracbus@v0.0.0")
	m.run("mod", "tidy")
	after := m.named()
	var changed []string
	for path, version := range before {
		if after[path] != version {
			changed = append(changed, path+" "+version+" → "+after[path])
		}
	}
	slices.Sort(changed)
	t.Logf("other versions than before: %q", changed)
	for path, version := range own {
		assert.Equal(t, version, after[path], path)
	}
}
