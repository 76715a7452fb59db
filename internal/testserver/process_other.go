//go:build !linux

package testserver

import (
	"os/exec"
	"strconv"
)

// dieWithParent does nothing here: only Linux can do it. A killed test process
// leaves its servers running.
func dieWithParent(*exec.Cmd) {}

func (p *process) stop() error {
	return exec.Command("kill", "-STOP", strconv.Itoa(p.cmd.Process.Pid)).Run()
}

func (p *process) resume() error {
	return exec.Command("kill", "-CONT", strconv.Itoa(p.cmd.Process.Pid)).Run()
}
