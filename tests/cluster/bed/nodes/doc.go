// Package nodes makes the simulated nodes of a cluster: objects as a real
// cluster has them, with everything filled in that a client might read.
package nodes

const (
	// FakeAnnotation, with the value "fake", hands a node to kwok and to the
	// simulated kubelets.
	FakeAnnotation = "kwok.x-k8s.io/node"
	// DownAnnotation, with the value "true", makes a node's kubelet dead: kwok
	// reports the node as not ready and nobody runs its pods. It can be set and
	// taken away while the cluster runs.
	DownAnnotation = "quayctl.test/down"
)
