//go:build !linux

package testserver

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// dieWithParent does nothing here: only Linux can do it. A killed test process
// leaves its servers running.
func dieWithParent(*exec.Cmd, syscall.Signal) {}

// stop halts the program and its children, soon.
func (p *process) stop() error {
	if err := p.halt(); err != nil {
		return err
	}
	return send("-STOP", p.children()...)
}

func (p *process) halt() error { return send("-STOP", p.cmd.Process.Pid) }

func (p *process) resume() error {
	return send("-CONT", append(p.children(), p.cmd.Process.Pid)...)
}

// children returns the processes that the program has started.
func (p *process) children() []int {
	out, _ := exec.Command("pgrep", "-P", strconv.Itoa(p.cmd.Process.Pid)).Output() // fails if there are none
	var children []int
	for _, field := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(field); err == nil {
			children = append(children, pid)
		}
	}
	return children
}

func send(signal string, pids ...int) error {
	if len(pids) == 0 {
		return nil
	}
	args := []string{signal}
	for _, pid := range pids {
		args = append(args, strconv.Itoa(pid))
	}
	return exec.Command("kill", args...).Run()
}

func stat(int) (state byte, parent int, err error) {
	return 0, 0, errors.ErrUnsupported
}

// guard has nothing to do if nothing dies with the test process.
type guard struct{}

func (*guard) dismiss() {}
