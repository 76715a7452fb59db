package tracini

import (
	"errors"
	"fmt"
	"io"
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

	docs     []*document         // in the order they are asked; the first that knows answers
	sections map[string]*section // what they answer together, of the sections that were asked for
}

// What a trac.ini has at most, with what it inherits: nobody writes that much, and what is
// larger is no trac.ini.
const (
	mostBytes = 1 << 20 // of all files
	mostNames = 1000    // of files, also of those that are not there, or are named again
)

// Load reads the file and, depth first, what it inherits ([inherit] file, a list
// separated by commas, each relative to the folder of the file that names it).
// Errors are an [*Error]. All files together have 1 MiB at most, and name 1,000 others at
// most.
func Load(path string) (*Config, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, &Error{File: path, Err: cause(err)}
	} else if !info.Mode().IsRegular() {
		return nil, &Error{File: path, Want: "a file"}
	}
	l := loader{seen: map[string]bool{}, left: mostBytes}
	if err := l.load(path); err != nil {
		return nil, err
	}
	return &l.config, nil
}

// file is the path of trac.ini itself.
func (c *Config) file() string { return c.docs[0].path }

// Lookup finds an option, whose name must be in lower case.
func (c *Config) Lookup(section, option string) (Value, bool) {
	v, ok := c.section(section).values[option]
	return v, ok
}

// section has all options of a section: the file's own, then those that only inherited
// files have.
func (c *Config) section(name string) *section {
	if s := c.sections[name]; s != nil {
		return s
	}
	s := newSection()
	for _, d := range c.docs {
		d.options(name, s)
	}
	if c.sections == nil {
		c.sections = map[string]*section{}
	}
	c.sections[name] = s
	return s
}

// Options are all options of a section, by name in lower case: the file's own,
// then those that only inherited files have.
func (c *Config) Options(section string) iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		s := c.section(section)
		for _, name := range s.names {
			if !yield(name, s.values[name]) {
				return
			}
		}
	}
}

// loader visits each file once: asked a second time, it has nothing to add.
type loader struct {
	config Config
	chain  []string        // the files that are being read, outermost first
	seen   map[string]bool // also those already read
	left   int64           // bytes that files may have yet
	named  int             // files
}

func (l *loader) load(path string) error {
	data, err := l.read(path)
	if err != nil {
		return err
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

	inherit := newSection()
	d.options("inherit", inherit)
	files := inherit.values["file"]
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

// read returns what is in a file, unless that is more than the files may have yet.
func (l *loader) read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, &Error{File: path, Err: cause(err)}
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, l.left+1))
	if err != nil {
		return nil, &Error{File: path, Err: cause(err)}
	}
	if l.left -= int64(len(data)); l.left < 0 {
		return nil, &Error{File: path, Want: fmt.Sprintf("%d KiB at most, with all files that inherit it or are inherited", mostBytes>>10)}
	}
	return data, nil
}

// inherit loads what the option named by, if it is there and new.
func (l *loader) inherit(by Value, path string) error {
	if l.named++; l.named > mostNames {
		return &Error{File: by.File, Line: by.Line, Section: "inherit", Option: "file", Want: fmt.Sprintf("%d names of files at most, with those that they inherit", mostNames)}
	}
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

// cause takes operation and path off an error that is shown with the path.
func cause(err error) error {
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
