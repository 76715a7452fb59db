// Package examples_test runs the library's Examples that need a database. They are
// written beside what they show, in modules that have no driver, with "Prints:" instead
// of "Output:", so that they are only compiled there.
package examples_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/docprogram"
)

var (
	prints  = regexp.MustCompile(`(?m)^(\s*// )(Unordered )?[Pp]rints:`)
	example = regexp.MustCompile(`(?m)^func (Example\w*)\(\) \{`)
)

func TestExamplesPrint(t *testing.T) {
	docprogram.NotCached(t)
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	for name, folder := range map[string]string{"tracbus": ".", "trac": "trac", "pages": "pages"} {
		t.Run(name, func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join(root, folder, "example*_test.go"))
			require.NoError(t, err)
			require.NotEmpty(t, files, "a package without Examples")
			tree, names := docprogram.Tree{}, []string{}
			for _, file := range files {
				text, err := os.ReadFile(file)
				require.NoError(t, err)
				for i, part := range example.FindAllStringSubmatchIndex(string(text), -1) {
					rest := string(text)[part[0]:]
					if end := strings.Index(rest, "\n}"); prints.MatchString(rest[:end]) {
						names = append(names, string(text)[part[2]:part[3]])
					} else {
						require.Contains(t, rest[:end], "utput:", "%s: Example %d prints nothing", file, i)
					}
				}
				tree["run/"+filepath.Base(file)] = prints.ReplaceAllStringFunc(string(text), func(s string) string {
					return strings.NewReplacer("Prints:", "Output:", "prints:", "output:").Replace(s)
				})
			}
			require.NotEmpty(t, names, "no Example ends in Prints:")
			tree["run/driver_test.go"] = fmt.Sprintf("package %s_test\n\nimport _ \"modernc.org/sqlite\"\n", name)

			scratch := t.TempDir()
			binary := filepath.Join(scratch, "examples.test")
			_, err = tree.Go(".", scratch, "test", "-c", "-vet=off", "-o", binary, "./run")
			require.NoError(t, err)
			command := exec.Command(binary, "-test.v", "-test.run", "^("+strings.Join(names, "|")+")$", "-test.timeout", "2m")
			command.Dir = filepath.Join(root, folder)
			output, err := command.CombinedOutput()
			require.NoError(t, err, "%s", output)
			for _, name := range names {
				assert.Contains(t, string(output), "--- PASS: "+name+" ")
			}
		})
	}
}
