package record

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tracbus/tracbus/internal/testkit"
)

// library is where the library's source is, seen from the folder of a campaign.
const library = "../../.."

// Spoiling replaces a text of the library's source.
type Spoiling struct{ File, Old, With string }

// SpoiledBinary builds the campaign's test binary from a spoiled source.
func SpoiledBinary(t *testing.T, spoilings []Spoiling) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "spoiled.test")
	build(t, spoilings, "test", "-c", "-ldflags=-s -w", "-o", program, ".")
	return program
}

// SpoilingsFit fails the test if the source does not have what they replace, or if
// what becomes of it cannot be built.
func SpoilingsFit(t *testing.T, spoilings []Spoiling) {
	t.Helper()
	build(t, spoilings, "build", library)
}

// build has the go tool build a spoiled source.
func build(t *testing.T, spoilings []Spoiling, command string, args ...string) {
	t.Helper()
	goTool, err := exec.LookPath("go")
	if err != nil {
		testkit.Skip(t, "it needs the go tool: "+err.Error())
	}
	args = append([]string{command, "-overlay", overlay(t, spoiled(t, spoilings))}, args...)
	if out, err := exec.CommandContext(t.Context(), goTool, args...).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
}

// spoiled returns what becomes of each file.
func spoiled(t *testing.T, spoilings []Spoiling) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, s := range spoilings {
		if texts[s.File] == "" {
			b, err := os.ReadFile(filepath.Join(library, s.File))
			if err != nil {
				t.Fatal(err)
			}
			texts[s.File] = string(b)
		}
		if n := strings.Count(texts[s.File], s.Old); n != 1 {
			t.Fatalf("%s: expected once, found %d times: %s", s.File, n, s.Old)
		}
		texts[s.File] = strings.Replace(texts[s.File], s.Old, s.With, 1)
	}
	return texts
}

// overlay writes what the go tool is to read in place of files of the library.
func overlay(t *testing.T, texts map[string]string) (file string) {
	t.Helper()
	folder := t.TempDir()
	list := struct{ Replace map[string]string }{map[string]string{}}
	for file, text := range texts {
		path, err := filepath.Abs(filepath.Join(library, file))
		if err != nil {
			t.Fatal(err)
		}
		list.Replace[path] = filepath.Join(folder, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(list.Replace[path], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
