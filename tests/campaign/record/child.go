package tracbus_test

import (
	"bufio"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/tracbus/tracbus/internal/testserver"
)

// attackChild is one run of a process.
type attackChild struct {
	name   string
	killed bool
	cmd    *exec.Cmd
	orders io.WriteCloser
	said   chan string   // what it said on standard output
	gone   chan struct{} // closed once it has ended and was waited for
}

// begin runs a test of a program in a process of its own. The variable tells it
// what to do there.
func (c *attackChild) begin(t testing.TB, program, test, variable, stderr string) {
	t.Helper()
	c.said, c.gone = make(chan string, 10), make(chan struct{})
	c.cmd = exec.Command(program, "-test.run=^"+test+"$", "-test.timeout=1h")
	c.cmd.Env = append(os.Environ(), variable)
	f, err := os.Create(stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.cmd.Stderr = f
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.orders, err = c.cmd.StdinPipe(); err != nil { // which ends with this process, however that ends
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go c.listen(stdout)
}

// listen reads what a process says until it is gone.
func (c *attackChild) listen(stdout io.Reader) {
	defer close(c.gone)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		select {
		case c.said <- lines.Text():
		default: // of no interest
		}
	}
	_ = c.cmd.Wait() // how it ended is in its log
}

// kill ends a process at once, also a stopped one.
func (c *attackChild) kill() {
	c.killed = true
	_ = c.cmd.Process.Kill() // fails if it is gone already
	<-c.gone
}

// order tells a process what to do. One that is gone does nothing.
func (c *attackChild) order(line string) { _, _ = io.WriteString(c.orders, line+"\n") }

// hear waits until a process says a line, or is gone.
func (c *attackChild) hear(t testing.TB, line string) {
	t.Helper()
	timeout := time.NewTimer(2 * patience)
	defer timeout.Stop()
	for {
		select {
		case said := <-c.said:
			if said == line {
				return
			}
		case <-c.gone:
			return
		case <-timeout.C:
			t.Errorf("%s did not say %q within %v", c.name, line, 2*patience)
			return
		}
	}
}

// attackCut cuts connections in one of the ways in which networks do. A fault that lasts ends with the function that is
// returned.
func attackCut(random *rand.Rand, p *testserver.TCPProxy) (end func()) {
	switch random.IntN(3) {
	case 0:
		p.Cut()
	case 1: // behind a byte that may be the last of a COMMIT
		p.CutAfter(random.Int64N(5000))
	case 2: // with answers on their way
		p.DropReplies()
		return func() {
			p.Cut()
			p.Resume()
		}
	}
	return nil
}

// signal sends a process "-STOP" or "-CONT".
func (c *attackChild) signal(t testing.TB, signal string) {
	if out, err := exec.Command("kill", signal, strconv.Itoa(c.cmd.Process.Pid)).CombinedOutput(); err != nil {
		t.Logf("kill %s %s: %v: %s", signal, c.name, err, out)
	}
}
