package testserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestWhatIsMissingSkipsOrFails(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, tc := range []struct {
		name, env string
		needs     func(testing.TB)
		want      string
	}{
		{"server", "", func(t testing.TB) { Redis(t, RedisOptions{}) },
			"skip: TestX skipped: it needs redis-server, which is not installed"},
		{"database", "", func(t testing.TB) { MariaDB(t, MariaDBOptions{}) },
			"skip: TestX skipped: it needs mariadb, which is not installed"},
		{"browser", "", func(t testing.TB) { Chromium(t) },
			"skip: TestX skipped: it needs chromium, which is not installed"},
		{"server required", "no", func(t testing.TB) { Redis(t, RedisOptions{}) },
			"fatal: TestX needs redis-server, which is not installed, and TRACBUS_REQUIRE_SERVERS is set"},
		{"module", "", func(t testing.TB) { missing(t, "python3-redis") },
			"skip: TestX skipped: it needs python3-redis, which is not installed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv(requireEnv, tc.env)
			if got := ended(tc.needs); got != tc.want {
				t.Errorf("end of the test\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestProgramsAreFoundBesidePATH(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"14", "15"} {
		bin := filepath.Join(dir, version, "bin")
		if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(bin, "tracbus-program"), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	pattern := filepath.Join(dir, "*", "bin", "tracbus-program")
	got, want := require(t, "tracbus-program", pattern), filepath.Join(dir, "15", "bin", "tracbus-program")
	if got != want {
		t.Errorf("program\n got %s\nwant %s", got, want)
	}
	t.Setenv("PATH", filepath.Join(dir, "14", "bin"))
	if got, want := require(t, "tracbus-program", pattern), filepath.Join(dir, "14", "bin", "tracbus-program"); got != want {
		t.Errorf("program on PATH\n got %s\nwant %s", got, want)
	}
}

func TestPythonHasRedis(t *testing.T) {
	python := Python(t)
	out, err := exec.Command(python, "-c", "import sys, redis; print(sys.version_info.major)").CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != "3" {
		t.Errorf("%s\n got %s, %v\nwant 3, nil", python, got, err)
	}
}

// ended tells how a test ends that runs f.
func ended(f func(testing.TB)) string {
	tb := &fakeTB{ended: "it did not end early"}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(tb)
	}()
	<-done
	return tb.ended
}

// fakeTB keeps how it was ended.
type fakeTB struct {
	testing.TB // nil: whatever else is called panics
	ended      string
}

func (*fakeTB) Helper()      {}
func (*fakeTB) Name() string { return "TestX" }

func (tb *fakeTB) Skipf(format string, args ...any)  { tb.end("skip: ", format, args) }
func (tb *fakeTB) Fatalf(format string, args ...any) { tb.end("fatal: ", format, args) }

func (tb *fakeTB) end(how, format string, args []any) {
	tb.ended = how + fmt.Sprintf(format, args...)
	runtime.Goexit()
}
