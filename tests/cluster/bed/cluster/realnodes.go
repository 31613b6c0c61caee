package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"quayctl.test/cluster/bed/realnode"
	"quayctl.test/cluster/bed/site"
)

// Real says which real nodes to start.
type Real struct {
	Count int
	// OldRuntime is the directory of a containerd of the generation 1.x, which the
	// last node gets; empty: none does.
	OldRuntime string
	// SmallDisk is the size in bytes of the first node's disk for images; 0 stands
	// for this machine's.
	SmallDisk int64
	// VerifyPulls lets the second node ask for credentials of all images that are
	// there, where the others trust those that nobody's pod has pulled.
	VerifyPulls bool
}

func (r Real) check() error {
	switch {
	case r.Count < 0 || r.Count > site.MostNodes:
		return fmt.Errorf("--real-nodes is %d; use 0 to %d", r.Count, site.MostNodes)
	case r.Count > 0 && os.Geteuid() != 0:
		return errors.New("--real-nodes needs root: nodes have namespaces, mounts and cgroups of their own")
	case r.SmallDisk < 0:
		return fmt.Errorf("--small-disk is %d; use 0 or more", r.SmallDisk)
	}
	return nil
}

// realNodes are a cluster's real nodes and the site that they stand in.
type realNodes struct {
	site      *site.Site
	nodes     []realnode.Node
	launchers []*launcher
	registry  string // where the registries are commanded
	reaper    *exec.Cmd
	alive     io.Closer // as long as it is open the reaper waits
}

func (r *realNodes) names() []string {
	var names []string
	for _, node := range r.nodes {
		names = append(names, node.Name)
	}
	return names
}

// prepare makes the site, and somebody who clears up after it, and gives the address
// that the API server is to have.
func (r *realNodes) prepare(wanted Real, at layout, binaries string) (address, error) {
	var err error
	if r.site, err = site.New(); err != nil {
		return address{}, err
	}
	for index := range wanted.Count {
		name := fmt.Sprintf("real-%03d", index+1)
		node := realnode.Node{
			Name:     name,
			Dir:      at.state(name),
			Binaries: binaries,
			Cgroup:   fmt.Sprintf("%s-%s", r.site.Name(), name),
			Address:  r.site.Node(index),
			Pods:     r.site.Pods(index),
			AllPods:  r.site.AllPods(),
			DNS:      r.site.Registry(),
			HostsDir: at.state("hosts"),
		}
		if index == 0 {
			node.DiskBytes = wanted.SmallDisk
		}
		node.VerifyPulls = wanted.VerifyPulls && index == 1
		if index == wanted.Count-1 {
			node.Runtime = wanted.OldRuntime
		}
		r.nodes = append(r.nodes, node)
	}
	if err := r.startReaper(); err != nil {
		return address{}, err
	}
	return address{r.site.Host()}, nil
}

// startReaper starts what removes the cgroups once this process is no more, however
// it ended. Everything else of the nodes ends with their processes.
func (r *realNodes) startReaper() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	args := []string{"reap"}
	for _, node := range r.nodes {
		args = append(args, node.Cgroup)
	}
	reaper := exec.Command(self, args...)
	reaper.Stderr = os.Stderr
	reaper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if r.alive, err = reaper.StdinPipe(); err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}
	if err := reaper.Start(); err != nil {
		return fmt.Errorf("starting the reaper: %w", err)
	}
	r.reaper = reaper
	return nil
}

// end lets go of everything. The nodes' processes have ended.
func (r *realNodes) end() {
	for _, launcher := range r.launchers {
		close(launcher.requests)
	}
	if r.site != nil {
		r.site.Close()
	}
	if r.reaper != nil {
		_ = r.alive.Close()
		if err := r.reaper.Wait(); err != nil {
			fmt.Fprintf(os.Stderr, "bed: the reaper: %v\n", err)
		}
	}
}
