package testserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long a server may take to start or to end when asked to.
// Servers need milliseconds; a crowded machine may need more.
const patience = 30 * time.Second

// process is one run of a server program, with the processes that the program
// starts itself. It dies with the test process, however that one ends, if the
// operating system can see to it.
type process struct {
	cmd   *exec.Cmd
	log   *serverLog
	gone  chan struct{} // closed once the program has ended and was waited for
	guard *guard        // of a halted program with children, else nil
}

// start runs a program and returns when its log says the words that mean ready.
// The error of a program that ends instead holds its log.
func start(ready, program string, args ...string) (*process, error) {
	return startCommand(ready, exec.Command(program, args...), syscall.SIGKILL)
}

// startCommand is start for a command that needs more than arguments. The
// signal is the one it gets when the test process is gone.
func startCommand(ready string, cmd *exec.Cmd, orphaned syscall.Signal) (*process, error) {
	p := &process{
		cmd:  cmd,
		log:  &serverLog{words: ready, ready: make(chan struct{})},
		gone: make(chan struct{}),
	}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.WaitDelay = time.Second // its own children may keep the log open
	dieWithParent(p.cmd, orphaned)

	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}

	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-p.log.ready:
		return p, nil
	case <-p.gone:
		return nil, fmt.Errorf("%s ended before it was ready:\n%s", cmd.Path, p.log)
	case <-timeout.C:
		p.kill()
		return nil, fmt.Errorf("%s not ready after %v:\n%s", cmd.Path, patience, p.log)
	}
}

// run starts the program and waits for its end, both on one thread: "die with
// the parent" means the thread that started the program, so that one must live
// as long as the program does.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	_ = p.cmd.Wait() // how it ended is in its log
	close(p.gone)
}

// kill ends the program and its children at once, also stopped ones, and waits
// until they are gone. The program is stopped first, so that no child comes
// after the count.
func (p *process) kill() {
	p.guard.dismiss()
	p.guard = nil
	var children []int
	if p.halt() == nil { // else it is gone, and its number may be another's
		children = p.children()
	}
	_ = p.cmd.Process.Kill()
	for _, pid := range children {
		_ = signal(pid, syscall.SIGKILL)
	}
	<-p.gone
	await(func() bool { return !slices.ContainsFunc(children, alive) }) // nobody survives it
}

// terminate asks the program with a signal to end and waits until it is gone.
// One that does not obey is killed.
func (p *process) terminate(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("terminate: %w", err)
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-p.gone:
		return nil
	case <-timeout.C:
		p.kill()
		return fmt.Errorf("%s still there %v after %v:\n%s", filepath.Base(p.cmd.Path), patience, sig, p.log)
	}
}

// runs says whether the program has not ended.
func (p *process) runs() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// signal sends a signal to a process that is not our own child.
func signal(pid int, sig os.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Signal(sig)
}

// alive says whether a process runs. One that is dead and not yet waited for,
// as may be in a container without an init, does not.
func alive(pid int) bool {
	if signal(pid, syscall.Signal(0)) != nil {
		return false
	}
	if runtime.GOOS != "linux" {
		return true
	}
	state, _, err := stat(pid)
	return err == nil && state != 'Z'
}

// await waits for something of which no event is sent. It is false when
// that took too long.
func await(is func() bool) bool {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-timeout.C:
			return false
		}
	}
	return true
}

// serverLog collects what a program prints, and watches for the words that mean
// it is ready.
type serverLog struct {
	words string
	ready chan struct{} // closed when the words were printed

	mu   sync.Mutex // guards text and seen
	text strings.Builder
	seen bool
}

func (l *serverLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	if !l.seen && strings.Contains(l.text.String(), l.words) {
		l.seen = true
		close(l.ready)
	}
	return len(b), nil
}

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
