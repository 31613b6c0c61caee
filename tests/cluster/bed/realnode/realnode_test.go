package realnode

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func node(t *testing.T) Node {
	t.Helper()
	return Node{
		Name: "real-001", Dir: t.TempDir(), Binaries: "/bed", Cgroup: fmt.Sprintf("quaybed-test-%d", os.Getpid()),
		Address: netip.MustParseAddr("198.18.7.11"), Pods: netip.MustParsePrefix("198.19.7.0/26"),
		AllPods: netip.MustParsePrefix("198.19.7.0/24"), DNS: netip.MustParseAddr("198.18.7.3"), HostsDir: "/hosts",
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEachConfigIsFilledInWholly(t *testing.T) {
	for _, runtime := range []string{"", "/old"} {
		n := node(t)
		n.Runtime = runtime
		if err := n.WriteConfigs(); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"containerd.toml", "kubelet.yaml", "kube-proxy.yaml", "cni/pods.conflist", "resolv.conf"} {
			// What fmt says of verbs and values that do not match.
			if text := read(t, n.file(file)); strings.Contains(text, "%!") || strings.Contains(text, "(MISSING)") {
				t.Errorf("%s with runtime %q:\n%s", file, runtime, text)
			}
		}
		var kubelet map[string]any
		if err := yaml.UnmarshalStrict([]byte(read(t, n.file("kubelet.yaml"))), &kubelet); err != nil {
			t.Fatal(err)
		}
		if kubelet["cgroupRoot"] != "/"+n.Cgroup || kubelet["registryPullQPS"] != float64(defaultPullQPS) {
			t.Errorf("kubelet.yaml: %v", kubelet)
		}
	}
}

func TestItsCgroupsAreMadeAndRemovedInEachHierarchy(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("cgroups need root")
	}
	n := node(t)
	t.Cleanup(func() { _ = RemoveCgroups(n.Cgroup) })
	if err := n.MakeCgroups(); err != nil {
		t.Fatal(err)
	}
	made, err := filepath.Glob(filepath.Join(cgroups, "*", n.Cgroup))
	if err != nil || len(made) == 0 {
		made = []string{filepath.Join(cgroups, n.Cgroup)}
	}
	for _, path := range made {
		if err := os.Mkdir(filepath.Join(path, "pod"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveCgroups(n.Cgroup); err != nil {
		t.Fatal(err)
	}
	for _, path := range made {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

func TestNoOtherCgroupCanBeNamed(t *testing.T) {
	for _, name := range []string{"", "a/b", "../cpu"} {
		if err := RemoveCgroups(name); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
}
