// Package nodes makes the simulated nodes of a cluster: objects as a real
// cluster has them, with everything filled in that a client might read.
package nodes

const (
	// FakeAnnotation, with the value "fake", hands a node to the simulated
	// kubelets. It is the one that kwok uses: lists of simulated nodes have it.
	FakeAnnotation = "kwok.x-k8s.io/node"
	// DownAnnotation, with the value "true", makes a node's kubelet dead: the
	// node is reported as not ready and nobody runs its pods. It can be set and
	// taken away while the cluster runs.
	DownAnnotation = "quayctl.test/down"

	// The next ones tell what sets a node's pulls apart, and may change while
	// the cluster runs.

	// PullDelayAnnotation makes every pull of a node longer, as "2s".
	PullDelayAnnotation = "quayctl.test/pull-delay"
	// PullJitterAnnotation adds up to this to it, the same at every run.
	PullJitterAnnotation = "quayctl.test/pull-jitter"
	// NotFoundAnnotation names part of the references that the node's registry
	// does not have.
	NotFoundAnnotation = "quayctl.test/not-found"
)
