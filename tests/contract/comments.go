package contract

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
)

// comments are the comments of the types of events, by the types' names as %T gives them.
type comments map[string]string

// readComments reads the packages that have events, in the folder of the root module.
func readComments(root string) (comments, error) {
	found := comments{}
	for name, folder := range map[string]string{"tracbus": root, "realms": filepath.Join(root, "trac", "realms")} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			return nil, err
		}
		types, events := map[string]string{}, map[string]bool{}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				return nil, err
			}
			for _, d := range file.Decls {
				readDecl(d, types, events)
			}
		}
		for event := range events {
			found[name+"."+event] = types[event]
		}
	}
	delete(found, "tracbus.Resync") // it is never published
	if len(found) == 0 {
		return nil, fmt.Errorf("no type of events in %s", root)
	}
	return found, nil
}

// readDecl notes the comments of types, and which types are events.
func readDecl(d ast.Decl, types map[string]string, events map[string]bool) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil || d.Name.Name != "WithChange" {
			return
		}
		if receiver, ok := d.Recv.List[0].Type.(*ast.Ident); ok && receiver.IsExported() {
			events[receiver.Name] = true
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if t, ok := spec.(*ast.TypeSpec); ok {
				types[t.Name.Name] = plain(d.Doc.Text() + t.Doc.Text())
			}
		}
	}
}

// plain returns a comment as one paragraph, without the marks of Go's documentation.
func plain(comment string) string {
	comment = regexp.MustCompile(`\[\*?([\w.]+)\]`).ReplaceAllString(comment, "$1")
	return strings.Join(strings.Fields(comment), " ")
}

// firstSentence returns a comment up to its first full stop.
func firstSentence(comment string) string {
	if i := strings.Index(comment, ". "); i >= 0 {
		return comment[:i+1]
	}
	return comment
}
