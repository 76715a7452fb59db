// Package docprogram finds the programs in Markdown files and builds those in Go, so that
// the documentation has no code that does not compile. Only tests use it.
package docprogram

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Program is one block of code in a Markdown file. In Go it is a whole file, with its
// package clause.
type Program struct {
	File   string // the Markdown file
	Line   int    // of the block's first line, from 1
	Source string
	Output string // the block of text that follows at once; empty if none does
}

// Find returns the programs in Go of Markdown files, in their order. An error says which
// block is not a whole Go file, or not formatted by gofmt.
func Find(files ...string) ([]Program, error) {
	found, err := FindIn("go", files...)
	for _, p := range found {
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", p.File, p.Line, err)
		}
	}
	return found, err
}

// FindIn returns the blocks that are marked with the name of a language.
func FindIn(language string, files ...string) ([]Program, error) {
	var found []Program
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		found = append(found, find(language, file, string(text))...)
	}
	return found, nil
}

func find(wanted, file, text string) (found []Program) {
	language, begin, end := "", 0, 0 // of the block that is open, or was the last
	var block strings.Builder
	for i, line := range strings.SplitAfter(text, "\n") {
		mark, isFence := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "```")
		switch {
		case !isFence && language != "":
			block.WriteString(line)
		case isFence && language == "":
			language, begin = mark+" ", i+2
			block.Reset()
		case isFence:
			switch {
			case language == wanted+" ":
				found, end = append(found, Program{File: file, Line: begin, Source: block.String()}), i
			case language == "text " && len(found) > 0 && begin-end <= 4:
				found[len(found)-1].Output = block.String()
			}
			language = ""
		}
	}
	return found
}

func (p Program) check() error {
	formatted, err := format.Source([]byte(p.Source))
	if err != nil {
		return err
	}
	if !strings.HasPrefix(p.Source, "package ") && !strings.Contains(p.Source, "\npackage ") {
		return fmt.Errorf("not a whole Go file: no package clause")
	}
	if string(formatted) != p.Source {
		return fmt.Errorf("not formatted by gofmt:\n%s", formatted)
	}
	return nil
}

// Imports returns the paths that the program imports.
func (p Program) Imports() []string {
	file, err := parser.ParseFile(token.NewFileSet(), "", p.Source, parser.ImportsOnly)
	if err != nil {
		return nil
	}
	var paths []string
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		paths = append(paths, path)
	}
	return paths
}

// Tree is a set of Go files that the go command sees in a module's folder and that are
// not there: keys are paths relative to it.
type Tree map[string]string

// Go runs the go command in a module's folder as if the files of the tree were in it.
// scratch is a folder for temporary files. It returns what the command wrote.
func (t Tree) Go(module, scratch string, args ...string) (string, error) {
	module, err := filepath.Abs(module)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for name, source := range t {
		file := filepath.Join(scratch, "overlay", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(module, filepath.FromSlash(name))] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list := filepath.Join(scratch, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	command := exec.Command("go", append([]string{args[0], "-overlay", list}, args[1:]...)...)
	command.Dir = module
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Run(); err != nil {
		return output.String(), fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, output.String())
	}
	return output.String(), nil
}

// Compile compiles programs within a module. It does not link them.
func Compile(module, scratch string, programs []Program) error {
	tree, args := Tree{}, []string{"list", "-export"} // -export has to compile
	for i, p := range programs {
		folder := fmt.Sprintf("docprogram%d", i)
		tree[fmt.Sprintf("%s/%s_line%d.go", folder, strings.TrimSuffix(filepath.Base(p.File), ".md"), p.Line)] = p.Source
		args = append(args, "./"+folder)
	}
	_, err := tree.Go(module, scratch, args...)
	return err
}

// NotCached keeps the go command from repeating a test's result without running it. Its
// cache does not see changes outside of the test's own module, such as in README.md. It
// keeps no result of a test that has read a file of the module which is newer than two
// seconds, so that NotCached makes one when the test ends.
func NotCached(t interface{ Cleanup(f func()) }) {
	t.Cleanup(func() {
		const name = ".not-cached"
		if os.WriteFile(name, nil, 0o600) == nil {
			_, _ = os.ReadFile(name)
		}
	})
}
