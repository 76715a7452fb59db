package testserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// serverCommand returns a command of a database that runs as its account, in a
// folder that the account can reach, and untouched by what the user has set for
// databases: it speaks English, and its time zone is UTC.
func serverCommand(a *account, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), foreign), "LC_ALL=C", "TZ=UTC", "HOME="+dir)
	a.runs(cmd)
	return cmd
}

// foreign says whether a variable is one that databases listen to.
func foreign(variable string) bool {
	return slices.ContainsFunc([]string{"PG", "MYSQL", "MARIADB"}, func(prefix string) bool {
		return strings.HasPrefix(variable, prefix)
	})
}

// run runs a command to its end. The error of one that fails holds what it
// printed.
func run(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, out)
	}
	return nil
}
