package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"quayctl.test/cluster/bed/cluster"
)

// startFlags are the flags of run and up.
func startFlags(name string, options *cluster.Options) *flag.FlagSet {
	set := flag.NewFlagSet("bed "+name, flag.ContinueOnError)
	set.StringVar(&options.Dir, "dir", "", "directory of the cluster's files")
	set.StringVar(&options.Mode, "mode", cluster.Open, "stock: controllers at upstream's client limits; open: without")
	set.IntVar(&options.Nodes.Total, "nodes", 3, "number of nodes, including those of the next flags")
	set.IntVar(&options.Nodes.Cordoned, "cordoned", 0, "nodes that are cordoned")
	set.IntVar(&options.Nodes.NotReady, "not-ready", 0, "nodes that are not ready")
	set.IntVar(&options.Nodes.Tainted, "tainted", 0, "nodes with the taint dedicated=batch:NoSchedule")
	set.IntVar(&options.Nodes.Old, "old", 0, "nodes without image volumes: kubelet 1.33, containerd 1.7")
	set.IntVar(&options.Nodes.Arm64, "arm64", 0, "nodes with arm64 processors")
	set.IntVar(&options.Nodes.Windows, "windows", 0, "nodes with Windows")
	set.IntVar(&options.Nodes.Virtual, "virtual", 0, "nodes of a virtual-kubelet, with its taint")
	set.IntVar(&options.Nodes.NoExecute, "no-execute", 0, "nodes with the taint dedicated=evict:NoExecute")
	set.IntVar(&options.Nodes.PreferNoSchedule, "prefer-no-schedule", 0, "nodes with the taint dedicated=spare:PreferNoSchedule")
	set.IntVar(&options.Nodes.LongNames, "long-names", 0, "nodes with names of 253 characters")
	set.IntVar(&options.Nodes.DottedNames, "dotted-names", 0, "nodes with names such as ip-10-64-0-7.eu-central-1.compute.internal")
	set.BoolVar(&options.Nodes.Realistic, "realistic", false, "node objects as large as a busy cluster's, with 50 images each")
	set.IntVar(&options.Nodes.ImagesPerNode, "images-per-node", 0, "images each node reports as present")
	set.StringVar(&options.Namespace, "namespace", "", "make this namespace, under Pod Security restricted, and name it in the kubeconfig")
	set.StringVar(&options.Nodes.Prefix, "name-prefix", "node", "first part of the nodes' names")
	set.Float64Var(&options.PullQPS, "pull-qps", 0, "pulls a second of each node, burst 10; a real kubelet has 5; 0: no limit")
	set.IntVar(&options.Real.Count, "real-nodes", 0, "real nodes besides, with kubelet, containerd and runc, and registries to pull from; needs root")
	set.StringVar(&options.Real.OldRuntime, "old-runtime", "", "directory of a containerd 1.x, which the last of the real nodes gets")
	set.Int64Var(&options.Real.SmallDisk, "small-disk", 0, "size in bytes of the disk that the first real node keeps images on; 0: this machine's")
	set.BoolVar(&options.Real.VerifyPulls, "verify-pulls", false, "the second real node's kubelet verifies pull credentials always; the others' not those of preloaded images")
	set.StringVar(&options.OnEnd, "on-component-end", cluster.EndFails,
		"what to do when a component ends by itself: fail, ignore or restart")
	set.DurationVar(&options.RestartAfter, "restart-after", 0, "with --on-component-end restart: how long the component stays away")
	return set
}

func parse(set *flag.FlagSet, args []string) error {
	if err := set.Parse(args); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; every option is a flag", set.Arg(0))
	}
	return nil
}

// binaries is where the components are: beside this program.
func binaries() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program's own directory: %w", err)
	}
	return filepath.Dir(self), nil
}
