package kubelet

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"quayctl.test/cluster/bed/nodes"
)

// Quirks are what sets one node's pulls apart.
type Quirks struct {
	Node       string        // the node's name
	PullDelay  time.Duration // added to each pull
	PullJitter time.Duration // up to this is added too
	NotFound   string        // references with this in them are not there; empty: none
}

// quirksOf reads the annotations of a node.
func quirksOf(node *corev1.Node) Quirks {
	return Quirks{
		Node:       node.Name,
		PullDelay:  lengthOf(node, nodes.PullDelayAnnotation),
		PullJitter: lengthOf(node, nodes.PullJitterAnnotation),
		NotFound:   node.Annotations[nodes.NotFoundAnnotation],
	}
}

func lengthOf(node *corev1.Node, annotation string) time.Duration {
	text, set := node.Annotations[annotation]
	if !set {
		return 0
	}
	length, err := time.ParseDuration(text)
	if err != nil || length < 0 {
		klog.ErrorS(err, "an annotation is not a length of time, as 2s", "node", node.Name, "annotation", annotation, "value", text)
		return 0
	}
	return length
}

// delay is what the node adds to the pull of one image. The jitter comes from
// the names of node and image, not of the pod: those of a Job's pods are random,
// and two runs are to take equally long.
func (q Quirks) delay(reference string) time.Duration {
	if q.PullJitter == 0 {
		return q.PullDelay
	}
	sum := sha256.Sum256([]byte(q.Node + " " + normalise(reference)))
	part := float64(binary.BigEndian.Uint32(sum[:4])) / (1 << 32)
	return q.PullDelay + time.Duration(part*float64(q.PullJitter))
}
