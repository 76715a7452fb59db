package testserver

import (
	"os"
	"os/user"
	"strconv"
	"testing"
)

// account is the user that a server runs as if the test runs as root, which
// servers refuse. A nil one is the test's own user.
type account struct {
	uid, gid int
}

// serverAccount returns the account of that name if the test needs one.
func serverAccount(t testing.TB, name string) *account {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatalf("account for a server, as the test runs as root: %v", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatalf("account %s: %v", name, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		t.Fatalf("account %s: %v", name, err)
	}
	return &account{uid: uid, gid: gid}
}

// folder makes a new folder that belongs to the account, where the account can
// reach it.
func (a *account) folder() (string, error) {
	dir, err := os.MkdirTemp("", "tb") // short: a unix socket's path may have some 100 bytes only
	if err != nil || a == nil {
		return dir, err
	}
	return dir, os.Chown(dir, a.uid, a.gid)
}
