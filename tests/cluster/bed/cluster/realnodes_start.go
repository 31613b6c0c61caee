package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"quayctl.test/cluster/bed/realnode"
	"quayctl.test/cluster/bed/site"
)

// startRealNodes starts the registries and the nodes and waits until all are ready.
func (s *supervisor) startRealNodes(ctx context.Context, identities *credentials, server string, client kubernetes.Interface) error {
	if len(s.real.nodes) == 0 {
		return nil
	}
	if err := s.startRegistry(ctx); err != nil {
		return err
	}
	archive := s.at.state("sandbox.tar")
	if err := realnode.WriteSandboxImage(filepath.Join(s.options.Binaries, "sandbox"), archive); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for index, node := range s.real.nodes {
		namespace, err := s.real.site.AddNode(index)
		if err != nil {
			return err
		}
		group.Go(func() error {
			if err := s.startRealNode(ctx, identities, server, node, namespace, archive); err != nil {
				return fmt.Errorf("starting %s: %w", node.Name, err)
			}
			return admit(ctx, client, node.Name)
		})
	}
	return group.Wait()
}

// startRegistry starts the registries' program, which also is the site's name server.
func (s *supervisor) startRegistry(ctx context.Context) error {
	namespace, err := s.real.site.AddRegistry()
	if err != nil {
		return err
	}
	on, err := s.launcherIn(namespace.Enter)
	if err != nil {
		return err
	}
	ready := make(chan string, 1)
	err = s.launchOne(component{
		name: "registry",
		args: []string{
			"serve", "--address", s.real.site.Registry().String(), "--control-port", "5000",
			"--dir", s.at.state("registry"), "--hosts-dir", s.at.state("hosts"), "--zone", "test",
		},
		on: on,
		ready: func(output io.Reader) {
			var said struct{ Control string }
			lines := bufio.NewReader(output)
			line, _ := lines.ReadBytes('\n')
			if json.Unmarshal(line, &said) == nil {
				ready <- said.Control
			}
			_, _ = io.Copy(io.Discard, lines)
		},
	})
	if err != nil {
		return err
	}
	select {
	case s.real.registry = <-ready:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.record.Registry = s.real.registry
		return s.record.write(s.at)
	case <-ctx.Done():
		return fmt.Errorf("the registries did not get ready: %w", context.Cause(ctx))
	}
}

// launcherIn makes a launcher in other namespaces, which ends with the cluster.
func (s *supervisor) launcherIn(enter func() error) (*launcher, error) {
	on, err := newLauncher(s.options.Binaries, s.at.root(), enter)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.real.launchers = append(s.real.launchers, on)
	return on, nil
}

func (s *supervisor) startRealNode(ctx context.Context, identities *credentials, server string, node realnode.Node, namespace *site.Namespace, archive string) error {
	if err := os.MkdirAll(node.Dir, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", node.Dir, err)
	}
	if err := errors.Join(node.WriteConfigs(), node.MakeCgroups()); err != nil {
		return err
	}
	for file, name := range map[string]string{node.Kubeconfig(): kubeletOf(node.Name), node.ProxyKubeconfig(): proxy} {
		if err := identities.writeKubeconfig(file, server, name, ""); err != nil {
			return err
		}
	}
	on, pid, err := s.startInit(ctx, node, namespace)
	if err != nil {
		return err
	}
	part := func(name string, call func() (string, []string)) component {
		program, args := call()
		return component{name: name + "-" + node.Name, node: node.Name, program: program, args: args, path: node.Path(), on: on}
	}
	if err := s.launchOne(part("containerd", node.Containerd)); err != nil {
		return err
	}
	if err := s.importImage(ctx, pid, archive); err != nil {
		return err
	}
	if err := s.launchOne(part("kubelet", node.Kubelet)); err != nil {
		return err
	}
	return s.launchOne(part("kube-proxy", node.Proxy))
}

// startInit starts the first process of a node, and gives a launcher of further ones.
func (s *supervisor) startInit(ctx context.Context, node realnode.Node, namespace *site.Namespace) (*launcher, int, error) {
	network, err := s.launcherIn(namespace.Enter)
	if err != nil {
		return nil, 0, err
	}
	ready := make(chan struct{})
	first := component{
		name: "init-" + node.Name, program: filepath.Join(s.options.Binaries, "bed"), args: node.InitArgs(),
		namespaces: realnode.InitNamespaces, on: network,
		ready: func(output io.Reader) {
			said := make([]byte, len(realnode.InitReady))
			if _, err := io.ReadFull(output, said); err == nil && string(said) == realnode.InitReady {
				close(ready)
			}
			_, _ = io.Copy(io.Discard, output)
		},
	}
	if err := s.launchOne(first); err != nil {
		return nil, 0, err
	}
	select {
	case <-ready:
	case <-ctx.Done():
		return nil, 0, fmt.Errorf("its first process did not get ready: %w", context.Cause(ctx))
	}
	s.mu.Lock()
	pid := s.processes[first.name].pid
	s.mu.Unlock()
	inside, err := s.launcherIn(func() error { return enterAll(pid) })
	if err != nil {
		return nil, 0, err
	}
	inside.death = 0
	return inside, pid, nil
}

// enterAll puts the calling thread into all namespaces of a process.
func enterAll(pid int) error {
	// The kernel refuses another mount namespace to a thread that shares its root
	// directory with others.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("setting a thread apart: %w", err)
	}
	handle, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("opening process %d: %w", pid, err)
	}
	defer unix.Close(handle)
	// Of the process namespace the thread's children are part, not the thread itself.
	if err := unix.Setns(handle, realnode.InitNamespaces|unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering the namespaces of process %d: %w", pid, err)
	}
	return nil
}

// importImage gives containerd the sandboxes' image, as soon as it listens.
func (s *supervisor) importImage(ctx context.Context, pid int, archive string) error {
	var said []byte
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		command := exec.CommandContext(ctx, filepath.Join(s.options.Binaries, "ctr"),
			"--address", fmt.Sprintf("/proc/%d/root%s", pid, realnode.Socket), "--namespace", "k8s.io",
			"images", "import", "--local", archive)
		var err error
		said, err = command.CombinedOutput()
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("giving containerd the sandboxes' image: %s: %w", said, err)
	}
	return nil
}

// admit waits until a node is ready and takes its startup taint off.
func admit(ctx context.Context, client kubernetes.Interface, name string) error {
	err := wait.PollUntilContextCancel(ctx, survey, true, func(ctx context.Context) (bool, error) {
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil || ready(node) != corev1.ConditionTrue {
			return false, nil // it registers by itself; the wait is bounded
		}
		var kept []corev1.Taint
		for _, taint := range node.Spec.Taints {
			if taint.Key == corev1.TaintNodeNotReady {
				return false, nil
			}
			if taint.Key != realnode.StartupTaint {
				kept = append(kept, taint)
			}
		}
		patch, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"resourceVersion": node.ResourceVersion},
			"spec":     map[string]any{"taints": kept},
		})
		if err != nil {
			return false, fmt.Errorf("encoding taints: %w", err)
		}
		_, err = client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
		return err == nil, nil // a conflict is tried again
	})
	if err != nil {
		return fmt.Errorf("%s is not ready: %w", name, err)
	}
	return nil
}
