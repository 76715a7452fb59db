package testserver

import (
	"os/exec"
	"syscall"
)

// What waitid(2) calls these; package syscall does not have them.
const (
	pPID     = 1
	wStopped = 2
	wNoWait  = 0x1000000
)

// dieWithParent has the kernel kill the program when the thread that starts it
// is gone.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// stop halts the program and returns when it has halted: a signal alone could
// leave it time for one more answer.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPID, uintptr(p.cmd.Process.Pid), 0, wStopped|wNoWait, 0, 0)
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
	return p.cmd.Process.Signal(syscall.SIGCONT)
}
