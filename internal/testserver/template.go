package testserver

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// template is a data folder as a database has it before its first start. Making
// one takes a second or more, copying it a fraction of that.
//
// Templates are kept in the user's cache folder, for all test processes, also
// those of later: a test process does not know that it has run its last test,
// so a template of its own would be left behind, or be made for every test. One
// appears there in one step and whole, and is never changed; it may be deleted
// while no test runs. Where there is no cache folder, every server makes its
// data folder itself.
type template struct {
	name    string // of the kind of server
	account *account
	program string   // makes a data folder
	args    []string // of the program; the folder is added
	folder  func(path string) string
}

// making lets one test of a process make a template that the others wait for.
var making sync.Mutex

// copyTo makes a data folder.
func (t *template) copyTo(data string) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return t.make(data)
	}
	key, err := t.key()
	if err != nil {
		return err
	}
	kept := filepath.Join(cache, "tracbus-testserver", key)
	if err := t.keep(kept); err != nil {
		return err
	}
	return copyFolder(kept, data)
}

// key is different wherever the data folder may be: another program, other
// arguments, another owner.
func (t *template) key() (string, error) {
	info, err := os.Stat(t.program)
	if err != nil {
		return "", err
	}
	uid := os.Geteuid()
	if t.account != nil {
		uid = t.account.uid
	}
	sum := sha256.Sum256(fmt.Append(nil, t.program, info.Size(), info.ModTime().UnixNano(), uid, t.args))
	return fmt.Sprintf("%s-%x", t.name, sum[:8]), nil
}

// keep makes the template if there is none. When another process does the same,
// the first one's stays.
func (t *template) keep(kept string) error {
	making.Lock()
	defer making.Unlock()
	if _, err := os.Stat(kept); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir, err := t.account.folder() // the account may not reach the cache
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	data := filepath.Join(dir, "data")
	if err := t.make(data); err != nil {
		return err
	}

	if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
		return err
	}
	near, err := os.MkdirTemp(filepath.Dir(kept), "new")
	if err != nil {
		return err
	}
	defer os.RemoveAll(near)
	whole := filepath.Join(near, "data")
	if err := copyFolder(data, whole); err != nil {
		return err
	}
	err = os.Rename(whole, kept)
	if _, there := os.Stat(kept); there == nil {
		return nil
	}
	return err
}

// make runs the program.
func (t *template) make(data string) error {
	cmd := serverCommand(t.account, filepath.Dir(data), t.program, append(t.args[:len(t.args):len(t.args)], t.folder(data))...)
	return run(cmd)
}

// copyFolder copies a folder with all modes and, if it may, owners. The copy
// must not exist.
func copyFolder(from, to string) error {
	return run(exec.Command("cp", "-pR", from, to))
}
