package testkit

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// leakPatience is how long a goroutine may take to end after all else was cleaned
// up. One that leaks never ends: what takes longer than a moment is a machine that
// is busy, as under a campaign, whose processes are then said to fail.
const leakPatience = 5 * time.Second

// NoLeaks fails the test if a goroutine that began after this call has not ended
// when all that is cleaned up later was cleaned up.
func NoLeaks(t testing.TB) {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() {
		t.Helper()
		deadline := time.Now().Add(leakPatience)
		for {
			var left []string
			for id, stack := range goroutines() {
				if _, ok := before[id]; !ok {
					left = append(left, stack)
				}
			}
			if len(left) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("%d goroutines have not ended within %v:\n\n%s", len(left), leakPatience, strings.Join(left, "\n\n"))
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// goroutines returns the stacks of all goroutines by their ids, but for the one that
// calls, and for those of the runtime and of package testing, which no test ends.
func goroutines() map[string]string {
	all := make([]byte, 1<<20)
	for {
		n := runtime.Stack(all, true)
		if n < len(all) {
			all = all[:n]
			break
		}
		all = make([]byte, 2*len(all))
	}
	stacks := map[string]string{}
	for i, stack := range strings.Split(string(all), "\n\n") {
		id, function := goroutineOf(stack)
		if i > 0 && !ofTheSystem(function) { // the first is the one that calls
			stacks[id] = stack
		}
	}
	return stacks
}

// goroutineOf returns the id of a goroutine and the function in which it is, of a
// stack as the runtime writes it:
//
//	goroutine 7 [chan receive]:
//	testing.(*T).Run(0xc000003dc0, {0x53d8a5, 0x9}, 0x54a1b0)
func goroutineOf(stack string) (id, function string) {
	head, rest, _ := strings.Cut(stack, "\n")
	if _, err := fmt.Sscanf(head, "goroutine %s ", &id); err != nil {
		panic(fmt.Sprintf("no goroutine: %q", head))
	}
	function, _, _ = strings.Cut(rest, "\n")
	return id, function
}

// ofTheSystem says whether a goroutine in a function is none of a test's.
func ofTheSystem(function string) bool {
	for _, name := range []string{
		"testing.RunTests(", "testing.(*T).Run(", "testing.(*F).Fuzz(", "testing.runFuzzTests(", "testing.runFuzzing(",
		"os/signal.signal_recv(", "os/signal.loop(", "runtime.ensureSigM(", "runtime.goexit(", "runtime.ReadTrace(",
	} {
		if strings.HasPrefix(function, name) {
			return true
		}
	}
	return false
}
