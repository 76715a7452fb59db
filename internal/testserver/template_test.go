package testserver

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestATemplateIsMadeOnce(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	made := filepath.Join(t.TempDir(), "made")
	blank := &template{
		name:    "test",
		program: "/bin/sh",
		args:    []string{"-c", `echo once >>"$0"; mkdir "$1"; echo data >"$1/file"`, made},
		folder:  func(path string) string { return path },
	}

	into := t.TempDir()
	var tests sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		tests.Go(func() {
			if err := blank.copyTo(filepath.Join(into, name)); err != nil {
				t.Error(err)
			}
		})
	}
	tests.Wait()
	for _, name := range []string{"a", "b", "c"} {
		if got, err := os.ReadFile(filepath.Join(into, name, "file")); string(got) != "data\n" || err != nil {
			t.Errorf("copy\n got %q, %v\nwant data, nil", got, err)
		}
	}
	if got, err := os.ReadFile(made); string(got) != "once\n" || err != nil {
		t.Errorf("makings\n got %q, %v\nwant once, nil", got, err)
	}
	if kept, _ := filepath.Glob(filepath.Join(cache, "*", "*")); len(kept) != 1 {
		t.Errorf("in the cache\n got %q\nwant one template", kept)
	}

	other := *blank
	other.args = append(other.args, "unused")
	one, err1 := blank.key()
	two, err2 := other.key()
	if one == two || err1 != nil || err2 != nil {
		t.Errorf("keys with other arguments\n got %s, %v and %s, %v\nwant two", one, err1, two, err2)
	}
}

func TestATemplateThatCannotBeMadeIsNotKept(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	broken := &template{
		name:    "test",
		program: "/bin/sh",
		args:    []string{"-c", `mkdir "$0"; exit 1`},
		folder:  func(path string) string { return path },
	}
	if err := broken.copyTo(filepath.Join(t.TempDir(), "data")); err == nil {
		t.Error("a template was made by a program that failed")
	}
	if kept, _ := filepath.Glob(filepath.Join(cache, "*", "*")); len(kept) != 0 {
		t.Errorf("in the cache\n got %q\nwant nothing", kept)
	}
}

func TestADatabaseNeedsNoCache(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	for _, kind := range databases {
		t.Run(kind.kind, func(t *testing.T) {
			s := kind.start(t)
			s.CreateDatabase("test")
			wantAnswer(t, s, "SELECT 1", "1")
		})
	}
}
