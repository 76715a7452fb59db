package realtrac_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/realtrac"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
)

// TestCost prints how much longer Trac takes to save a ticket with what captures.
func TestCost(t *testing.T) {
	real := realtrac.Find(t)
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		e := real.NewEnvironment(s)
		schema := map[string]string{"postgresql": "public"}[s.Dialect]
		install, uninstall, err := trac.CaptureSchema(tracbus.Dialect(s.Dialect), schema)
		require.NoError(t, err)
		split := func(text string) []string { return strings.Split(strings.TrimSpace(text), "\n\n") }
		text, err := json.Marshal(map[string][]string{"install": split(install), "uninstall": split(uninstall)})
		require.NoError(t, err)
		file := filepath.Join(t.TempDir(), "statements.json")
		require.NoError(t, os.WriteFile(file, text, 0o600))
		out, err := real.Command(filepath.Join("testdata", "cost.py"), e.Path, file, "12", "40").Output()
		require.NoError(t, err)
		var took struct{ With, Without struct{ Half, Fifth float64 } }
		require.NoError(t, json.Unmarshal(out, &took), "%s", out)
		t.Logf("a save of two fields and a comment: median %.0f µs without, %.0f µs with: %.2f; the quickest fifth %.0f and %.0f: %.2f",
			took.Without.Half, took.With.Half, took.With.Half/took.Without.Half, took.Without.Fifth, took.With.Fifth, took.With.Fifth/took.Without.Fifth)
		assert.Positive(t, took.Without.Fifth)
	})
}
