package record

import (
	"bufio"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
)

// Child is one run of a process.
type Child struct {
	Name   string
	Killed bool
	Cmd    *exec.Cmd
	orders io.WriteCloser
	Said   chan string   // what it said on standard output
	Gone   chan struct{} // closed once it has ended and was waited for
}

// Begin runs a test of a program in a process of its own. The variable tells it
// what to do there.
func (c *Child) Begin(t testing.TB, program, test, variable, stderr string) {
	t.Helper()
	c.Cmd = exec.Command(program, "-test.run=^"+test+"$", "-test.timeout=1h")
	c.Cmd.Env = append(os.Environ(), variable)
	c.Start(t, stderr)
}

// Start starts Cmd.
func (c *Child) Start(t testing.TB, stderr string) {
	t.Helper()
	c.Said, c.Gone = make(chan string, 10), make(chan struct{})
	f, err := os.Create(stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.Cmd.Stderr = f
	stdout, err := c.Cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.orders, err = c.Cmd.StdinPipe(); err != nil { // which ends with this process, however that ends
		t.Fatal(err)
	}
	if err := c.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go c.listen(stdout)
}

// listen reads what a process says until it is gone.
func (c *Child) listen(stdout io.Reader) {
	defer close(c.Gone)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		select {
		case c.Said <- lines.Text():
		default: // of no interest
		}
	}
	_ = c.Cmd.Wait() // how it ended is in its log
}

// Kill ends a process at once, also a stopped one.
func (c *Child) Kill() {
	c.Killed = true
	_ = c.Cmd.Process.Kill() // fails if it is gone already
	<-c.Gone
}

// Order tells a process what to do. One that is gone does nothing.
func (c *Child) Order(line string) { _, _ = io.WriteString(c.orders, line+"\n") }

// Hear waits until a process says a line, or is gone.
func (c *Child) Hear(t testing.TB, line string) {
	t.Helper()
	timeout := time.NewTimer(2 * testkit.Patience)
	defer timeout.Stop()
	for {
		select {
		case said := <-c.Said:
			if said == line {
				return
			}
		case <-c.Gone:
			return
		case <-timeout.C:
			t.Errorf("%s did not say %q within %v", c.Name, line, 2*testkit.Patience)
			return
		}
	}
}

// Cut cuts connections in one of the ways in which networks do. A fault that lasts ends with the function that is
// returned.
func Cut(random *rand.Rand, p *testserver.TCPProxy) (end func()) {
	switch random.IntN(4) {
	case 0:
		p.Cut()
	case 1: // after a byte that may be the last of a COMMIT
		p.CutAfter(random.Int64N(5000))
	case 2: // with answers on their way
		p.DropReplies()
		return func() {
			p.Cut()
			p.Resume()
		}
	case 3: // in silence: neither end learns of it for a time
		p.Swallow()
		return func() {
			p.Cut()
			p.Resume()
		}
	}
	return nil
}

// Signal sends a process "-STOP" or "-CONT".
func (c *Child) Signal(t testing.TB, signal string) {
	if out, err := exec.Command("kill", signal, strconv.Itoa(c.Cmd.Process.Pid)).CombinedOutput(); err != nil {
		t.Logf("kill %s %s: %v: %s", signal, c.Name, err, out)
	}
}
