package testserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long a server may take to start or to end when asked to.
// Servers need milliseconds; a crowded machine may need more.
const patience = 30 * time.Second

// process is one run of a server program. It dies with the test process,
// however that one ends, where the operating system can see to it.
type process struct {
	cmd  *exec.Cmd
	log  *serverLog
	gone chan struct{} // closed once the program has ended and was waited for
}

// start runs a program and returns when its log says the words that mean ready.
// The error of a program that ends instead holds its log.
func start(ready, program string, args ...string) (*process, error) {
	p := &process{
		cmd:  exec.Command(program, args...),
		log:  &serverLog{words: ready, ready: make(chan struct{})},
		gone: make(chan struct{}),
	}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.WaitDelay = time.Second // its own children may keep the log open
	dieWithParent(p.cmd)

	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}

	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-p.log.ready:
		return p, nil
	case <-p.gone:
		return nil, fmt.Errorf("%s ended before it was ready:\n%s", program, p.log)
	case <-timeout.C:
		p.kill()
		return nil, fmt.Errorf("%s not ready after %v:\n%s", program, patience, p.log)
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

// kill ends the program at once, also a stopped one, and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails if it is gone already
	<-p.gone
}

// terminate asks the program to end and waits until it is gone. One that does
// not obey is killed.
func (p *process) terminate() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("terminate: %w", err)
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-p.gone:
		return nil
	case <-timeout.C:
		p.kill()
		return fmt.Errorf("%s still there %v after SIGTERM:\n%s", filepath.Base(p.cmd.Path), patience, p.log)
	}
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
