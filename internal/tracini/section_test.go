package tracini

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// options loads a text as section [s].
func options(t *testing.T, text string) (*Section, *Findings) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "trac.ini")
	require.NoError(t, os.WriteFile(file, []byte("[s]\n"+text), 0o644))
	c, err := Load(file)
	require.NoError(t, err)
	found := &Findings{}
	return c.Section("s", found), found
}

func TestTypedOptions(t *testing.T) {
	s, found := options(t, "text = a b\nempty =\nint = 7\non = yes\noff = no\nms = 500ms\nseconds = 1.5\nrelative = a/b\nabsolute = /a\naddrs = h, i:1, ::1,")
	assert.Equal(t, "a b", s.String("text"))
	assert.Equal(t, "", s.StringOr("empty", "other"))
	assert.Equal(t, "other", s.StringOr("none", "other"))
	assert.Equal(t, []bool{true, false}, []bool{s.Has("empty"), s.Has("none")})
	assert.Equal(t, []int{7, 0, 5}, []int{s.Int("int", 5), s.Int("empty", 5), s.Int("none", 5)})
	assert.Equal(t, []bool{true, false, true, true}, []bool{s.Bool("on", false), s.Bool("off", true), s.Bool("empty", true), s.Bool("none", true)})
	assert.Equal(t, []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 0}, []time.Duration{s.Duration("ms"), s.Duration("seconds"), s.Duration("none")})
	assert.Equal(t, []string{filepath.Dir(s.config.file()) + "/a/b", "/a", ""}, []string{s.Path("relative"), s.Path("absolute"), s.Path("none")})
	assert.Equal(t, []string{"h:9", "i:1", "[::1]:9"}, s.Addrs("addrs", "9"))
	s.WarnOfUnknown()
	assert.Equal(t, &Findings{}, found, "all were asked for")
}

// TestFindings: the first error stays, with its place; each warning is there once.
func TestFindings(t *testing.T) {
	s, found := options(t, "a = x\nb = y\nmisspelt = z")
	s.Int("a", 0)
	s.Bool("b", false)
	assert.Equal(t, &Error{File: s.config.file(), Line: 2, Section: "s", Option: "a", Value: "x", Want: "an integer in the digits 0 to 9"}, found.Err)
	s.WarnOfUnknown()
	s.WarnOfUnknown()
	assert.Equal(t, []string{s.config.file() + ":4: [s] misspelt is not an option here, so it is passed over"}, found.Warnings)
}

func TestFindingsHideSecrets(t *testing.T) {
	for _, text := range []string{"password = hunter2", "sentinel_password = hunter2", "url = hunter2", "host = redis://joe:hunter2@h"} {
		s, found := options(t, text)
		for option := range s.Options() {
			s.Fail(option, "something else")
		}
		assert.Empty(t, found.Err.Value, text)
		assert.NotContains(t, found.Err.Error(), "hunter2", text)
	}
}

// TestEnabled: the longest rule that is a beginning of the component's name decides.
func TestEnabled(t *testing.T) {
	s, _ := options(t, "a.* = on\na.b.* = off\na.b.c = on\nd* = on")
	for component, want := range map[string]struct {
		on     bool
		option string
	}{
		"a.x": {true, "a.*"}, "a.b.x": {false, "a.b.*"}, "a.b.c": {true, "a.b.c"}, "a.bb": {true, "a.*"}, "d": {true, "d*"}, "dd": {false, "dd"},
	} {
		on, option := s.Enabled(component)
		assert.Equal(t, want.on, on, component)
		assert.Equal(t, want.option, option, component)
	}
}
