package tracini

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
)

// Config is a trac.ini and all it inherits.
type Config struct {
	// Missing are the inherited files that are not there, each as the option
	// that names it and, in Text, its path. Trac passes over them in silence.
	Missing []Value

	docs []*document // in the order they are asked; the first that knows answers
}

// Load reads the file and, depth first, what it inherits ([inherit] file, a list
// separated by commas, each relative to the folder of the file that names it).
// Errors are an [*Error].
func Load(path string) (*Config, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, &Error{File: path, Err: plain(err)}
	} else if !info.Mode().IsRegular() {
		return nil, &Error{File: path, Want: "a file"}
	}
	l := loader{seen: map[string]bool{}}
	if err := l.load(path); err != nil {
		return nil, err
	}
	return &l.config, nil
}

// file is the path of trac.ini itself.
func (c *Config) file() string { return c.docs[0].path }

// Lookup finds an option, whose name must be in lower case.
func (c *Config) Lookup(section, option string) (Value, bool) {
	for _, d := range c.docs {
		if v, ok := d.lookup(section, option); ok {
			return v, true
		}
	}
	return Value{}, false
}

// Options are all options of a section, by name in lower case: the file's own,
// then those that only inherited files have.
func (c *Config) Options(section string) iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		seen := map[string]bool{}
		for _, d := range c.docs {
			for _, name := range d.options(section) {
				if seen[name] {
					continue
				}
				seen[name] = true
				if v, _ := c.Lookup(section, name); !yield(name, v) {
					return
				}
			}
		}
	}
}

// loader visits each file once: asked a second time, it has nothing to add.
type loader struct {
	config Config
	chain  []string        // the files that are being read, outermost first
	seen   map[string]bool // also those already read
}

func (l *loader) load(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return &Error{File: path, Err: plain(err)}
	}
	d, err := parse(path, data)
	if err != nil {
		return err
	}
	l.config.docs = append(l.config.docs, d)
	key := identity(path)
	l.seen[key] = true
	l.chain = append(l.chain, key)
	defer func() { l.chain = l.chain[:len(l.chain)-1] }()

	files, _ := d.lookup("inherit", "file")
	for name := range strings.SplitSeq(files.Text, ",") {
		parent := strip(name)
		if parent == "" {
			continue
		}
		if !filepath.IsAbs(parent) {
			// Not filepath.Join: ".." after a symbolic link must mean what the system says.
			parent = filepath.Dir(path) + string(filepath.Separator) + parent
		}
		if err := l.inherit(files, parent); err != nil {
			return err
		}
	}
	return nil
}

// inherit loads what the option named by, if it is there and new.
func (l *loader) inherit(by Value, path string) error {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		l.config.Missing = append(l.config.Missing, Value{Text: path, File: by.File, Line: by.Line, Section: by.Section})
		return nil
	}
	key := identity(path)
	for i, outer := range l.chain {
		if outer == key {
			return &Error{File: by.File, Line: by.Line, Section: "inherit", Option: "file",
				Want: fmt.Sprintf("files that do not inherit each other, found %s",
					strings.Join(append(l.chain[i:], key), " > "))}
		}
	}
	if l.seen[key] {
		return nil
	}
	return l.load(path)
}

// identity is the same for two paths to a file that would inherit the same: its
// folder, from which it names others, counts as the system sees it, its own name
// as written.
func identity(path string) string {
	return filepath.Join(RealPath(filepath.Dir(path)), filepath.Base(path))
}

// plain takes operation and path off an error that is shown with the path.
func plain(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

// RealPath is Python's os.path.realpath, by which Trac reads options that are
// paths: absolute, every symbolic link followed, also one that leads nowhere.
func RealPath(path string) string {
	const maxLinks = 255 // then it is a loop, and left as it is
	if !filepath.IsAbs(path) {
		if wd, err := os.Getwd(); err == nil {
			path = wd + string(filepath.Separator) + path
		}
	}
	root := filepath.VolumeName(path) + string(filepath.Separator)
	done, rest := root, split(path[len(filepath.VolumeName(path)):])
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			done = filepath.Dir(done)
			continue
		}
		next := filepath.Join(done, name)
		target, err := os.Readlink(next)
		if err != nil || links == maxLinks {
			done = next
			continue
		}
		links++
		if filepath.IsAbs(target) {
			done = root
		}
		rest = append(split(target), rest...)
	}
	return done
}

func split(path string) []string {
	return strings.Split(path, string(filepath.Separator))
}
