package embed_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/docprogram"
)

// An application on xorm 0.8, with a go.mod of its own: a driver tells it which connection its session's
// transaction is on. What it commits is in the journal, and what it rolled back is not.
func TestXorm08(t *testing.T) {
	docprogram.NotCached(t)
	main, err := os.ReadFile(filepath.Join("testdata", "xorm08", "main.go"))
	require.NoError(t, err)
	begun, err := os.ReadFile(filepath.Join("testdata", "xorm08", "begun.go"))
	require.NoError(t, err)
	m := newModule(t, string(main))
	require.NoError(t, os.WriteFile(filepath.Join(m.folder, "begun.go"), begun, 0o600))
	m.run("mod", "edit", "-require", "github.com/tracbus/tracbus@v0.0.0",
		"-require", "xorm.io/xorm@v0.8.2", "-require", "modernc.org/sqlite@v1.30.0")
	m.run("mod", "tidy")
	assert.Equal(t, "v0.8.2", m.named()["xorm.io/xorm"])
	t.Setenv("DATABASE", "file:"+filepath.Join(t.TempDir(), "x.db")+
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	assert.Equal(t, `table: [{1 It works.}]
journal: joe created ticket 1 map[title:It breaks.]
journal: ann changed ticket 1 map[title:It breaks.] to map[title:It works.]
`, m.run("run", "."))
}
