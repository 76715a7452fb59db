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
	goTool, err := exec.LookPath("go")
	if err != nil {
		testkit.Skip(t, "it needs the go tool: "+err.Error())
	}
	folder := t.TempDir()
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
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, text := range texts {
		path, err := filepath.Abs(filepath.Join(library, file))
		if err != nil {
			t.Fatal(err)
		}
		spoiled := filepath.Join(folder, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(spoiled, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[path] = spoiled
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list, program := filepath.Join(folder, "overlay.json"), filepath.Join(folder, "spoiled.test")
	if err := os.WriteFile(list, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), goTool, "test", "-c", "-ldflags=-s -w", "-overlay", list, "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}
