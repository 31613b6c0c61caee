package realnode

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// InitArgs are the arguments of the node's first process, a command of the bed's.
func (n Node) InitArgs() []string {
	return []string{"node-init", "--name", n.Name, "--dir", n.Dir, "--disk-bytes", strconv.FormatInt(n.DiskBytes, 10)}
}

// InitNamespaces are those that the first process is started in, besides the
// network's, which exists already.
const InitNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS

// InitReady is what the first process says once the node's programs may start.
const InitReady = "ready\n"

// Init is the first process of a node: it makes the node's own view of the file
// system, says so, and from then on takes care of orphans. It ends with its starter.
func Init(name, dir string, diskBytes int64) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	if err := mounts(dir, diskBytes); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return fmt.Errorf("letting packets through: %w", err)
	}
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	if _, err := os.Stdout.WriteString(InitReady); err != nil {
		return fmt.Errorf("saying that the node is ready: %w", err)
	}
	for range children {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
	}
	return nil
}

// mounts gives the node its own /proc and /run, and lets all that its programs
// write below /var, where some paths are theirs to choose, go to its directory.
func mounts(dir string, diskBytes int64) error {
	// Nothing mounted here is seen outside; kubelets want what is mounted here to
	// be seen in containers.
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("setting the mounts apart: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("sharing the node's own mounts: %w", err)
	}
	resolvConf, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("finding /etc/resolv.conf: %w", err)
	}
	// Held open: it may be below what is covered next.
	own, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", dir, err)
	}
	defer unix.Close(own)
	if err := overlayVar(dir); err != nil {
		return err
	}
	if strings.HasPrefix(dir, "/var/") {
		if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", own), dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("uncovering %s: %w", dir, err)
		}
	}
	for target, kind := range map[string]string{"/proc": "proc", "/run": "tmpfs"} {
		if err := unix.Mount(kind, target, kind, 0, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", target, err)
		}
	}
	if diskBytes > 0 {
		storage := filepath.Join(dir, "containerd")
		if err := os.MkdirAll(storage, 0o711); err != nil {
			return fmt.Errorf("making %s: %w", storage, err)
		}
		if err := unix.Mount("tmpfs", storage, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes)); err != nil {
			return fmt.Errorf("mounting a disk of %d bytes: %w", diskBytes, err)
		}
	}
	return setNameServer(filepath.Join(dir, "resolv.conf"), resolvConf)
}

func overlayVar(dir string) error {
	upper, work := filepath.Join(dir, "var"), filepath.Join(dir, "var-work")
	for _, each := range []string{upper, work} {
		if err := os.MkdirAll(each, 0o755); err != nil {
			return fmt.Errorf("making %s: %w", each, err)
		}
	}
	options := fmt.Sprintf("lowerdir=/var,upperdir=%s,workdir=%s", upper, work)
	if err := unix.Mount("overlay", "/var", "overlay", 0, options); err != nil {
		return fmt.Errorf("covering /var: %w", err)
	}
	return nil
}

// setNameServer puts the site's in the place of this machine's. That one may have
// been below /run.
func setNameServer(own, place string) error {
	if place == "" {
		return errors.New("this machine has no /etc/resolv.conf that a node's could be put over")
	}
	if _, err := os.Stat(place); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
			return fmt.Errorf("making the directory of %s: %w", place, err)
		}
		if err := os.WriteFile(place, nil, 0o644); err != nil {
			return fmt.Errorf("making %s: %w", place, err)
		}
	}
	if err := unix.Mount(own, place, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("setting the name server: %w", err)
	}
	return nil
}
