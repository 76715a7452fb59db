package testserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// database is what [PostgresServer] and [MariaDBServer] have in common: a
// server with a data folder.
type database struct {
	t        testing.TB
	name     string // of the kind of server
	account  *account
	dir      string // holds the data folder, and what else the server needs
	port     int
	ready    string           // what the log says once it answers
	end      syscall.Signal   // asks it to end
	orphaned syscall.Signal   // what it gets when the test process is gone
	command  func() *exec.Cmd // runs it
	sweep    func()           // removes what a killed one leaves outside its folder
	backups  int
	process  *process // of the last start, which may be over
}

// open makes the folder, lets fill make the data folder in it, and starts the
// server, which ends with the test.
func (d *database) open(fill func(data string) error) {
	d.t.Helper()
	dir, err := d.account.folder()
	if err != nil {
		d.t.Fatalf("%s: %v", d.name, err)
	}
	d.dir = dir
	d.t.Cleanup(d.remove)
	if err := fill(d.data()); err != nil {
		d.t.Fatalf("%s: %v", d.name, err)
	}

	for attempt := 1; ; attempt++ {
		d.port = freePort(d.t)
		err := d.start()
		if err == nil {
			return
		}
		taken := strings.Contains(err.Error(), "Address already in use")
		if !taken || attempt == 10 {
			d.t.Fatalf("%s: %v", d.name, err)
		}
	}
}

// Addr returns the host and port, which stay the same over a Restart.
func (d *database) Addr() string { return local(d.port) }

// Port returns the port alone.
func (d *database) Port() int { return d.port }

// Kill ends the server as a crash does, with all its processes, and returns
// when they are gone. A stopped server can be killed, and a dead one.
func (d *database) Kill() {
	if d.process != nil {
		d.process.kill()
		d.sweep()
	}
}

// Terminate ends the server as its administrator does, in order but without
// waiting for clients to leave, and returns when it is gone.
func (d *database) Terminate() {
	d.t.Helper()
	if err := d.process.terminate(d.end); err != nil {
		d.t.Fatalf("%s: %v", d.name, err)
	}
}

// Restart starts the server again where it was, and returns when it answers,
// having recovered all that was committed. A server that still runs is killed
// first.
func (d *database) Restart() {
	d.t.Helper()
	d.Kill()
	if err := d.start(); err != nil {
		d.t.Fatalf("%s: restart: %v", d.name, err)
	}
}

// Stop halts all processes of the server: connections stay open, new ones are
// even made by the kernel, and nothing is answered until Continue.
func (d *database) Stop() {
	d.t.Helper()
	if err := d.process.stop(); err != nil {
		d.t.Fatalf("%s: stop: %v", d.name, err)
	}
}

// Continue lets a stopped server go on with all that waits for it.
func (d *database) Continue() {
	d.t.Helper()
	if err := d.process.resume(); err != nil {
		d.t.Fatalf("%s: continue: %v", d.name, err)
	}
}

// LimitFiles keeps the server from writing any file past a length, as a full disk does:
// some servers end on that. Zero ends the limit. It fails where nobody may do this.
func (d *database) LimitFiles(bytes int64) error {
	limit := "unlimited"
	if bytes > 0 {
		limit = strconv.FormatInt(bytes, 10)
	}
	for _, pid := range append([]int{d.process.cmd.Process.Pid}, d.process.children()...) {
		cmd := serverCommand(d.account, d.dir, "/usr/bin/prlimit", "--pid", strconv.Itoa(pid), "--fsize="+limit+":") // nobody else may
		if err := run(cmd); err != nil && alive(pid) {
			return fmt.Errorf("%s: limit files: %w", d.name, err)
		}
	}
	return nil
}

// Backup terminates the server, copies its data and starts it again. The
// function that it returns puts the server back to that copy, as often as it is
// called: the server is killed, what it has committed since is forgotten, and
// it answers again.
func (d *database) Backup() (restore func()) {
	d.t.Helper()
	d.Terminate()
	d.backups++
	backup := filepath.Join(d.dir, fmt.Sprintf("backup%d", d.backups))
	if err := copyFolder(d.data(), backup); err != nil {
		d.t.Fatalf("%s: backup: %v", d.name, err)
	}
	d.Restart()
	return func() {
		d.t.Helper()
		d.Kill()
		if err := os.RemoveAll(d.data()); err != nil {
			d.t.Fatalf("%s: restore: %v", d.name, err)
		}
		if err := copyFolder(backup, d.data()); err != nil {
			d.t.Fatalf("%s: restore: %v", d.name, err)
		}
		d.Restart()
	}
}

func (d *database) data() string { return filepath.Join(d.dir, "data") }

func (d *database) start() error {
	p, err := startCommand(d.ready, d.command(), d.orphaned)
	if err != nil {
		return err
	}
	d.process = p
	return nil
}

// remove ends the server and deletes its folder. The log of a failed test's
// server is shown.
func (d *database) remove() {
	d.Kill()
	if d.process != nil && d.t.Failed() {
		d.t.Logf("log of %s on %s:\n%s", d.name, d.Addr(), d.process.log)
	}
	if err := os.RemoveAll(d.dir); err != nil {
		d.t.Errorf("%s: %v", d.name, err)
	}
}
