package realnode

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
)

var (
	//go:embed files/containerd.toml
	containerdConfig string
	//go:embed files/containerd-1.toml
	oldContainerdConfig string
	//go:embed files/kubelet.yaml
	kubeletConfig string
	//go:embed files/kube-proxy.yaml
	proxyConfig string
	//go:embed files/bridge.conflist
	networkConfig string
)

// defaultPullQPS is the kubelet's own (registryPullQPS).
const defaultPullQPS = 5

// WriteConfigs writes what the node's programs read besides their credentials.
func (n Node) WriteConfigs() error {
	containerd := containerdConfig
	if n.Runtime != "" {
		containerd = oldContainerdConfig
	}
	qps := n.PullQPS
	if qps == 0 {
		qps = defaultPullQPS
	}
	for file, content := range map[string]string{
		"containerd.toml": fmt.Sprintf(containerd,
			n.storage(), Socket, Socket, CNIPlugins, n.file("cni"), SandboxImage, n.HostsDir),
		"kubelet.yaml": fmt.Sprintf(kubeletConfig,
			n.Cgroup, Socket, n.file("pod-logs"), n.file("volume-plugins"), n.resolvConf(), n.DNS, qps, n.verification()),
		"kube-proxy.yaml":   fmt.Sprintf(proxyConfig, n.Name, n.AllPods, n.ProxyKubeconfig()),
		"cni/pods.conflist": fmt.Sprintf(networkConfig, n.file("addresses"), n.Pods),
		"resolv.conf":       fmt.Sprintf("nameserver %v\n", n.DNS),
	} {
		path := n.file(file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("making the directory of %s: %w", file, err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return fmt.Errorf("writing %s of %s: %w", file, n.Name, err)
		}
	}
	return nil
}

// verification is the kubelet's imagePullCredentialsVerificationPolicy.
func (n Node) verification() string {
	if n.VerifyPulls {
		return "AlwaysVerify"
	}
	return "NeverVerifyPreloadedImages"
}

func (n Node) storage() string    { return n.file("containerd") }
func (n Node) resolvConf() string { return n.file("resolv.conf") }
