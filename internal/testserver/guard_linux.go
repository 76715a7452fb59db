package testserver

import (
	"io"
	"os/exec"
	"strconv"
	"syscall"
)

// guard is a small process that continues halted ones when the test process is
// gone, so that they notice it, and end in order if they can.
type guard struct {
	cmd  *exec.Cmd
	hold io.WriteCloser // the kernel closes it with the test process
}

func newGuard(pids ...int) (*guard, error) {
	args := []string{"-c", `read -r word || kill -CONT "$@"`, "sh"}
	for _, pid := range pids {
		args = append(args, strconv.Itoa(pid))
	}
	cmd := exec.Command("/bin/sh", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is not for it
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &guard{cmd: cmd, hold: hold}, nil
}

// dismiss ends a guard, or does nothing if there is none.
func (g *guard) dismiss() {
	if g == nil {
		return
	}
	_, _ = io.WriteString(g.hold, "go\n") // fails if somebody killed it
	_ = g.cmd.Wait()
}
