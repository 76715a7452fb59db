package bench_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// machine says what this is: processor, system, and the versions of all that is
// measured.
func machine(ctx context.Context) string {
	parts := []string{fmt.Sprintf("%d cores of %s", runtime.NumCPU(), processor()), runtime.Version()}
	for _, program := range [][]string{
		{"redis-server", "--version"},
		{installed("/usr/lib/postgresql/*/bin/postgres", "postgres"), "--version"},
		{installed("/usr/sbin/mariadbd", "mariadbd"), "--version"},
	} {
		if out, err := exec.CommandContext(ctx, program[0], program[1:]...).Output(); err == nil {
			parts = append(parts, version(string(out)))
		}
	}
	return strings.Join(parts, ", ")
}

// processor is what Linux calls it.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// installed returns the last program that a pattern matches, or a name to look for.
func installed(pattern, name string) string {
	if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
		return slices.Max(found)
	}
	return name
}

// version cuts from what a program says of itself what differs between builds.
func version(said string) string {
	words := strings.Fields(said)
	for i, w := range words {
		if strings.ContainsAny(w, "0123456789") && strings.Contains(w, ".") {
			name := strings.TrimPrefix(filepath.Base(words[0]), "mariadbd")
			if name == "" {
				name = "MariaDB"
			}
			w, _, _ = strings.Cut(strings.TrimPrefix(words[i], "v="), "-")
			return strings.TrimSpace(name + " " + w)
		}
	}
	return strings.TrimSpace(said)
}
