package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"quayctl.test/cluster/bed/kubelet"
)

// bringUp takes the cluster to where it can be used.
func (s *supervisor) bringUp(ctx context.Context, announce func(Ready)) error {
	starting, cancel := context.WithTimeout(ctx, startLimit+time.Duration(s.options.Nodes.Total)*startLimitPerNode)
	defer cancel()
	chosen, err := freePorts()
	if err != nil {
		return err
	}
	where := address{loopback}
	if s.options.Real.Count > 0 {
		if where, err = s.real.prepare(s.options.Real, s.at, s.options.Binaries); err != nil {
			return err
		}
	}
	server := where.server(chosen.apiserver)
	birth, err := birthOf(os.Getpid())
	if err != nil {
		return fmt.Errorf("reading our own start time: %w", err)
	}
	s.record = Record{PID: os.Getpid(), Birth: birth, Server: server, Kubeconfig: s.at.kubeconfig(), Log: s.at.log("bed"), Dir: s.at.dir}
	identities, err := newCredentials(s.at, where, s.real.names())
	if err != nil {
		return err
	}
	if err := writeConfigs(s.at, identities, server, s.options.Mode); err != nil {
		return err
	}
	client, err := identities.client(server, admin)
	if err != nil {
		return err
	}
	base, rest := components(s.at, chosen, where, s.options.Mode, s.beats().Grace)
	if err := s.launch(base); err != nil {
		return err
	}
	if err := awaitAPI(starting, client); err != nil {
		return err
	}
	if err := s.launch(rest); err != nil {
		return err
	}
	asKubelets, err := identities.client(server, kubelets)
	if err != nil {
		return err
	}
	go func() {
		// It only ends with ctx; what it could not set up is told there.
		options := kubelet.Options{Fates: kubelet.ByReference, PullQPS: float32(s.options.PullQPS), Beats: s.beats()}
		if err := kubelet.Run(ctx, asKubelets, options); err != nil {
			fmt.Fprintf(os.Stderr, "bed: simulated kubelets: %v\n", err)
		}
	}()
	if err := s.populate(starting, client); err != nil {
		return err
	}
	if err := s.startRealNodes(starting, identities, server, client); err != nil {
		return err
	}
	if err := s.handOver(identities, server); err != nil {
		return err
	}
	s.mu.Lock()
	s.up = true
	s.mu.Unlock()
	announce(Ready{Ready: true, Kubeconfig: s.at.kubeconfig(), Server: server, Dir: s.at.dir, Registry: s.real.registry})
	return nil
}

// beats are slow where there are thousands of nodes; real ones renew their Leases
// often, and tests wait until one is found to be gone.
func (s *supervisor) beats() kubelet.Beats {
	if s.options.Real.Count > 0 {
		return kubelet.RealBeats
	}
	return kubelet.SlowBeats
}

// populate makes the nodes and waits until the cluster has settled.
func (s *supervisor) populate(ctx context.Context, client kubernetes.Interface) error {
	if s.options.Namespace != "" {
		if err := createNamespace(ctx, client, s.options.Namespace); err != nil {
			return err
		}
	}
	if err := createNodes(ctx, client, s.options.Nodes.Build()); err != nil {
		return err
	}
	for _, namespace := range s.namespaces() {
		if err := awaitAccount(ctx, client, namespace); err != nil {
			return err
		}
	}
	return awaitNodes(ctx, client, s.options.Nodes.Total)
}

// namespaces are those that pods may be made in as soon as the cluster is ready.
func (s *supervisor) namespaces() []string {
	if s.options.Namespace == "" {
		return []string{metav1.NamespaceDefault}
	}
	return []string{metav1.NamespaceDefault, s.options.Namespace}
}

// handOver writes what users of the cluster need. kubectl is one of it where it
// has been built.
func (s *supervisor) handOver(identities *credentials, server string) error {
	if err := identities.writeKubeconfig(s.at.kubeconfig(), server, admin, s.options.Namespace); err != nil {
		return err
	}
	kubectl := filepath.Join(s.options.Binaries, "kubectl")
	if _, err := os.Stat(kubectl); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := os.MkdirAll(s.at.bin(), 0o755); err != nil {
		return fmt.Errorf("making %s: %w", s.at.bin(), err)
	}
	if err := gone(os.Remove(s.at.kubectl())); err != nil {
		return fmt.Errorf("replacing kubectl: %w", err)
	}
	if err := os.Symlink(kubectl, s.at.kubectl()); err != nil {
		return fmt.Errorf("linking kubectl: %w", err)
	}
	return nil
}
