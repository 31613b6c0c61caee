package realnode

import (
	"fmt"
	"net/netip"
	"path/filepath"
)

// Node is one real node and what it is configured by.
type Node struct {
	Name string
	// Dir is where all of its files are.
	Dir string
	// Binaries is the directory of kubelet, kube-proxy and, unless Runtime is set,
	// containerd and its shim.
	Binaries string
	// Runtime is the directory of an older containerd, of the generation 1.x.
	Runtime string
	// Cgroup is the name of its own cgroup, below the root of each hierarchy.
	Cgroup string

	Address   netip.Addr   // in the site
	Pods      netip.Prefix // that its pods have addresses of
	AllPods   netip.Prefix // those of the whole site
	DNS       netip.Addr   // its name server, and that of its pods
	HostsDir  string       // containerd's directory of registries
	DiskBytes int64        // size of containerd's file system; 0: a directory
	// PullQPS is the kubelet's registryPullQPS; 0 stands for its default, 5.
	PullQPS int
	// VerifyPulls lets a pod use a private image that is there only if it may pull it,
	// also one that the kubelet has not pulled itself (KEP-2535).
	VerifyPulls bool
}

// Socket is where containerd listens, as seen on the node: /run is its own there.
const Socket = "/run/containerd/containerd.sock"

// CNIPlugins is where Debian's containernetworking-plugins puts them.
const CNIPlugins = "/usr/lib/cni"

func (n Node) file(parts ...string) string {
	return filepath.Join(append([]string{n.Dir}, parts...)...)
}

// Kubeconfig is where the kubelet looks for its credentials.
func (n Node) Kubeconfig() string { return n.file("kubelet.kubeconfig") }

// ProxyKubeconfig is where kube-proxy looks for its own.
func (n Node) ProxyKubeconfig() string { return n.file("kube-proxy.kubeconfig") }

// Containerd gives the program and its arguments.
func (n Node) Containerd() (program string, args []string) {
	return filepath.Join(n.runtime(), "containerd"), []string{"--config", n.file("containerd.toml")}
}

func (n Node) runtime() string {
	if n.Runtime != "" {
		return n.Runtime
	}
	return n.Binaries
}

// Path is the PATH of its programs: containerd finds its shim by it.
func (n Node) Path() string { return n.runtime() + ":/usr/sbin:/usr/bin:/sbin:/bin" }

// Kubelet gives the program and its arguments.
func (n Node) Kubelet() (program string, args []string) {
	return filepath.Join(n.Binaries, "kubelet"), []string{
		"--config=" + n.file("kubelet.yaml"),
		"--kubeconfig=" + n.Kubeconfig(),
		"--hostname-override=" + n.Name,
		"--node-ip=" + n.Address.String(),
		"--root-dir=" + n.file("kubelet"),
		"--cert-dir=" + n.file("kubelet-pki"),
		"--node-labels=" + fmt.Sprintf("topology.kubernetes.io/zone=site,%s=true", Label),
		"--register-with-taints=" + StartupTaint + "=:NoSchedule",
	}
}

// Proxy gives kube-proxy and its arguments.
func (n Node) Proxy() (program string, args []string) {
	return filepath.Join(n.Binaries, "kube-proxy"), []string{"--config=" + n.file("kube-proxy.yaml")}
}

const (
	// Label marks real nodes.
	Label = "quayctl.test/real"
	// StartupTaint is on each real node when it registers. The bed takes it off
	// those that it starts with.
	StartupTaint = "quayctl.test/startup"
)
