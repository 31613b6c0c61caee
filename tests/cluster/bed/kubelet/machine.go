package kubelet

import (
	"context"
	"fmt"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"

	"quayctl.test/cluster/bed/nodes"
)

// machine is what the kubelet of one simulated node keeps.
type machine struct {
	name     string
	hostIP   string
	images   *imageStore
	recorder record.EventRecorder
	podIPs   *atomic.Uint32
}

func newMachine(ctx context.Context, client kubernetes.Interface, node *corev1.Node, options Options, podIPs *atomic.Uint32) *machine {
	var present []string
	for _, image := range node.Status.Images {
		present = append(present, image.Names...)
	}
	var throttle flowcontrol.RateLimiter = flowcontrol.NewFakeAlwaysRateLimiter()
	if options.PullQPS > 0 {
		throttle = flowcontrol.NewTokenBucketRateLimiter(options.PullQPS, pullBurst)
	}
	return &machine{
		name:     node.Name,
		hostIP:   internalIP(node),
		images:   newImageStore(quirksOf(node), options.Fates, throttle, present),
		recorder: newRecorder(ctx, client, node.Name),
		podIPs:   podIPs,
	}
}

func internalIP(node *corev1.Node) string {
	for _, address := range node.Status.Addresses {
		if address.Type == corev1.NodeInternalIP {
			return address.Address
		}
	}
	return "10.0.0.1"
}

// nextPodIP hands out addresses of 10.128.0.0/9, which nothing else here uses.
// They are words only: no packet is ever sent to one.
func (m *machine) nextPodIP() string {
	n := m.podIPs.Add(1)
	return fmt.Sprintf("10.%d.%d.%d", 128+(n>>16)%128, n>>8&0xff, n&0xff)
}

// simulated says whether we play this node's kubelet, and live whether that
// kubelet is up.
func simulated(node *corev1.Node) bool { return node.Annotations[nodes.FakeAnnotation] == "fake" }
func live(node *corev1.Node) bool      { return node.Annotations[nodes.DownAnnotation] != "true" }
