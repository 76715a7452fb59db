package testserver

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// What waitid(2) calls these; package syscall does not have them.
const (
	pPID     = 1
	wStopped = 2
	wExited  = 4
	wNoWait  = 0x1000000
)

// dieWithParent has the kernel send the program a signal when the thread that
// starts it is gone.
func dieWithParent(cmd *exec.Cmd, orphaned syscall.Signal) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = orphaned
}

// stop halts the program and its children, and returns when all have halted: a
// signal alone could leave them time for one more answer.
func (p *process) stop() error {
	if err := p.halt(); err != nil {
		return err
	}
	children := p.children() // a halted program makes no new ones
	for _, pid := range children {
		_ = signal(pid, syscall.SIGSTOP) // fails if it has just ended
	}
	if !await(func() bool { return !slices.ContainsFunc(children, running) }) {
		return fmt.Errorf("children of process %d not halted after %v", p.cmd.Process.Pid, patience)
	}
	if len(children) == 0 {
		return nil
	}
	g, err := newGuard(append(children, p.cmd.Process.Pid)...)
	if err != nil {
		return err
	}
	p.guard.dismiss()
	p.guard = g
	return nil
}

// halt halts the program alone, and returns when all its threads have halted,
// or when it has ended.
func (p *process) halt() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPID, uintptr(p.cmd.Process.Pid), 0, wStopped|wExited|wNoWait, 0, 0)
		switch errno {
		case 0:
			return nil
		case syscall.EINTR:
		default:
			return errno
		}
	}
}

func (p *process) resume() error {
	p.guard.dismiss()
	p.guard = nil
	for _, pid := range p.children() {
		_ = signal(pid, syscall.SIGCONT) // fails if it was killed
	}
	return p.cmd.Process.Signal(syscall.SIGCONT)
}

// children returns the processes that the program has started and that are not
// over.
func (p *process) children() []int {
	var children []int
	folders, _ := filepath.Glob("/proc/[0-9]*") // fails on a malformed pattern only
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		state, parent, err := stat(pid)
		if err == nil && parent == p.cmd.Process.Pid && state != 'Z' {
			children = append(children, pid)
		}
	}
	return children
}

// running says whether a process of one thread is neither halted nor over.
func running(pid int) bool {
	state, _, err := stat(pid)
	return err == nil && state != 'T' && state != 'Z'
}

// stat returns the state of a process, as in proc(5), and its parent.
func stat(pid int) (state byte, parent int, err error) {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, err
	}
	behindName := line[bytes.LastIndexByte(line, ')')+1:] // a name may hold anything
	_, err = fmt.Sscanf(string(behindName), " %c %d", &state, &parent)
	return state, parent, err
}
