package realnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const cgroups = "/sys/fs/cgroup"

// MakeCgroups makes the node's own cgroup in each hierarchy that there is, of either
// version. A kubelet does not make its cgroupRoot itself.
func (n Node) MakeCgroups() error {
	if _, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers")); err == nil {
		return n.makeUnified()
	}
	hierarchies, err := os.ReadDir(cgroups)
	if err != nil {
		return fmt.Errorf("reading %s: %w", cgroups, err)
	}
	for _, hierarchy := range hierarchies {
		// Links are further names of hierarchies that are there anyway.
		if !hierarchy.IsDir() {
			continue
		}
		parent := filepath.Join(cgroups, hierarchy.Name())
		own := filepath.Join(parent, n.Cgroup)
		if err := os.Mkdir(own, 0o755); err != nil {
			return fmt.Errorf("making the cgroup %s: %w", own, err)
		}
		if hierarchy.Name() != "cpuset" {
			continue
		}
		// A new cpuset is empty, and no process may enter it then.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(parent, file))
			if err == nil {
				err = os.WriteFile(filepath.Join(own, file), value, 0)
			}
			if err != nil {
				return fmt.Errorf("copying %s: %w", file, err)
			}
		}
	}
	return nil
}

// makeUnified makes the cgroup of version 2 and hands all controllers down to it.
func (n Node) makeUnified() error {
	own := filepath.Join(cgroups, n.Cgroup)
	if err := os.Mkdir(own, 0o755); err != nil {
		return fmt.Errorf("making the cgroup %s: %w", own, err)
	}
	for _, from := range []string{cgroups, own} {
		available, err := os.ReadFile(filepath.Join(from, "cgroup.controllers"))
		if err != nil {
			return fmt.Errorf("reading the controllers of %s: %w", from, err)
		}
		for _, controller := range strings.Fields(string(available)) {
			err := os.WriteFile(filepath.Join(from, "cgroup.subtree_control"), []byte("+"+controller), 0)
			if err != nil {
				return fmt.Errorf("handing down the controller %s of %s: %w", controller, from, err)
			}
		}
	}
	return nil
}

// removeLimit is how long the last processes of a node may take to leave.
const removeLimit = 30 * time.Second

// RemoveCgroups removes the cgroups of this name and all below them, as soon as
// their processes have ended.
func RemoveCgroups(name string) error {
	if name == "" || strings.ContainsRune(name, '/') {
		return fmt.Errorf("%q is no name of a cgroup", name)
	}
	found, err := filepath.Glob(filepath.Join(cgroups, "*", name))
	if err != nil {
		return fmt.Errorf("looking for the cgroups %s: %w", name, err)
	}
	found = append(found, filepath.Join(cgroups, name))
	deadline := time.Now().Add(removeLimit)
	for {
		var left error
		for _, root := range found {
			left = errors.Join(left, removeTree(root))
		}
		if left == nil || time.Now().After(deadline) {
			return left
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// removeTree removes directories from the innermost out. The files in a cgroup's
// directory are the kernel's and go with it.
func removeTree(root string) error {
	var all []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("looking below %s: %w", root, err)
	}
	for _, path := range slices.Backward(all) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a cgroup: %w", err)
		}
	}
	return nil
}
