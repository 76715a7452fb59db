package tracini

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Own options come first, then those of inherited files that are new, depth first.
func TestOptionsOfAllFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"trac.ini": "[inherit]\nfile = a.ini, b.ini\n[s]\nown = 1\nboth = own",
		"a.ini":    "[inherit]\nfile = deep.ini\n[s]\nBOTH = a\na = 1",
		"deep.ini": "[DEFAULT]\nd = deep\n[s]\na = deep\ndeep = 1",
		"b.ini":    "[s]\ndeep = b\nb = 1\nd = b",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	c, err := Load(filepath.Join(dir, "trac.ini"))
	require.NoError(t, err)
	var got []string
	for name, v := range c.Options("s") {
		got = append(got, name+"="+v.Text+" "+filepath.Base(v.File))
	}
	assert.Equal(t, []string{"own=1 trac.ini", "both=own trac.ini", "a=1 a.ini", "deep=1 deep.ini", "d=deep deep.ini", "b=1 b.ini"}, got)
}

// A hundred files that each inherit the next two are read once each.
func TestManyFilesAreReadOnce(t *testing.T) {
	dir := t.TempDir()
	const n = 100
	name := func(i int) string { return "f" + string(rune('0'+i/10)) + string(rune('0'+i%10)) + ".ini" }
	for i := range n {
		text := "[s]\nk = v"
		if i+2 < n {
			text = "[inherit]\nfile = " + name(i+1) + "," + name(i+2)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name(i)), []byte(text), 0o644))
	}
	c, err := Load(filepath.Join(dir, name(0)))
	require.NoError(t, err)
	assert.Len(t, c.docs, n)
	v, ok := c.Lookup("s", "k")
	assert.True(t, ok)
	assert.Equal(t, "v", v.Text)
}

func TestRealPath(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(root, "real", "sub"), 0o755))
	for link, target := range map[string]string{
		"dir": "real/sub", "dangling": "nowhere/x", "absolute": root + "/real", "loop": "loop", "twice": "dir/../back", "real/back": "../dir",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(root, link)))
	}
	t.Chdir(root)
	for path, want := range map[string]string{
		root + "/dir/x":             root + "/real/sub/x",
		root + "/dir/../x":          root + "/real/x", // not /x
		root + "/dangling":          root + "/nowhere/x",
		root + "/absolute/./sub//y": root + "/real/sub/y",
		root + "/twice/z":           root + "/real/sub/z",
		root + "/loop/x":            root + "/loop/x",
		"dir/x":                     root + "/real/sub/x",
		"/":                         "/",
	} {
		assert.Equal(t, want, RealPath(path), path)
	}
}
