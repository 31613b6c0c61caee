package nodes

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Plan says how many nodes there are and how many of them differ. The groups
// do not overlap: plain nodes come first, then old, cordoned, tainted and last
// the ones that are not ready.
type Plan struct {
	Prefix        string
	Total         int
	Old           int
	Cordoned      int
	Tainted       int
	NotReady      int
	ImagesPerNode int
}

// most is upstream's limit for one cluster, and what the addresses suffice for.
const most = 5000

// Check says what is wrong with a plan.
func (p Plan) Check() error {
	for name, count := range map[string]int{
		"nodes": p.Total, "old": p.Old, "cordoned": p.Cordoned, "tainted": p.Tainted,
		"not-ready": p.NotReady, "images-per-node": p.ImagesPerNode,
	} {
		if count < 0 {
			return fmt.Errorf("--%s is %d; use 0 or more", name, count)
		}
	}
	if p.Total > most {
		return fmt.Errorf("--nodes is %d; use at most %d", p.Total, most)
	}
	if special := p.Old + p.Cordoned + p.Tainted + p.NotReady; special > p.Total {
		return fmt.Errorf("--old, --cordoned, --tainted and --not-ready make %d nodes of %d; raise --nodes", special, p.Total)
	}
	return nil
}

// kind is what sets a node apart.
type kind int

const (
	plain kind = iota
	old
	cordoned
	tainted
	notReady
)

// kindOf places node i, counted from 1.
func (p Plan) kindOf(i int) kind {
	last := p.Total
	for _, group := range []struct {
		kind kind
		size int
	}{{notReady, p.NotReady}, {tainted, p.Tainted}, {cordoned, p.Cordoned}, {old, p.Old}} {
		if i > last-group.size {
			return group.kind
		}
		last -= group.size
	}
	return plain
}

// Build makes the nodes.
func (p Plan) Build() []*corev1.Node {
	built := make([]*corev1.Node, 0, p.Total)
	for i := 1; i <= p.Total; i++ {
		built = append(built, p.node(i))
	}
	return built
}
