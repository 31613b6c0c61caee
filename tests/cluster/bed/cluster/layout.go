package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// layout is where a cluster keeps its files. Other clusters may live in
// subdirectories of the same directory, so it names all that is its own.
type layout struct{ dir string }

func (l layout) kubeconfig() string { return filepath.Join(l.dir, "kubeconfig") }
func (l layout) bin() string        { return filepath.Join(l.dir, "bin") }
func (l layout) kubectl() string    { return filepath.Join(l.dir, "bin", "kubectl") }
func (l layout) root() string       { return filepath.Join(l.dir, "state") }
func (l layout) state(parts ...string) string {
	return filepath.Join(append([]string{l.root()}, parts...)...)
}
func (l layout) auditLog() string            { return l.state("audit.log") }
func (l layout) log(component string) string { return l.state(component + ".log") }

// errRunning means that a supervisor holds the directory.
var errRunning = errors.New("a cluster is running there already")

// claim takes the directory for this process. The lock ends with the process,
// however it ends, so what a killed supervisor left is seen as left over.
func (l layout) claim() (*os.File, error) {
	if err := os.MkdirAll(l.root(), 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	lock, err := os.OpenFile(l.state("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w; end it with: bed down --dir %s", l.dir, errRunning, l.dir)
		}
		return nil, fmt.Errorf("locking %s: %w", l.dir, err)
	}
	return lock, nil
}

// OpenAuditLog opens the audit log of a cluster, running or killed.
func OpenAuditLog(dir string) (*os.File, error) {
	log, err := os.Open(layout{dir}.auditLog())
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, errNoRecord)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	return log, nil
}

// busy says whether a supervisor holds the directory now.
func (l layout) busy() bool {
	lock, err := os.Open(l.state("lock"))
	if err != nil {
		return false
	}
	defer lock.Close()
	return errors.Is(syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// clear removes what an earlier supervisor left in the state directory, but
// neither the lock nor the log this process may be writing to.
func (l layout) clear() error {
	entries, err := os.ReadDir(l.root())
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if name := entry.Name(); name != "lock" && name != "bed.log" {
			if err := os.RemoveAll(l.state(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove takes away every file a cluster makes, and the directories too where
// nothing else is in them.
func (l layout) remove() error {
	problems := []error{
		gone(os.Remove(l.kubeconfig())),
		gone(os.Remove(l.kubectl())),
		os.RemoveAll(l.root()),
	}
	for _, dir := range []string{l.bin(), l.dir} {
		if err := gone(os.Remove(dir)); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func gone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
