package nodes

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Plan says how many nodes there are and how many of them differ. The groups
// do not overlap: plain nodes come first, then the groups in the order of their
// fields.
type Plan struct {
	Prefix           string
	Total            int
	Old              int
	Cordoned         int
	Tainted          int
	NotReady         int
	Arm64            int
	Windows          int
	Virtual          int
	NoExecute        int
	PreferNoSchedule int
	LongNames        int
	DottedNames      int
	ImagesPerNode    int
	// Realistic makes node objects as large as those of busy clusters.
	Realistic bool
}

// most is upstream's limit for one cluster, and what the addresses suffice for.
const most = 5000

// kind is what sets a node apart.
type kind int

const (
	plain kind = iota
	old
	cordoned
	tainted
	notReady
	arm64
	windows
	virtual
	noExecute
	preferNoSchedule
	longName
	dottedName
)

// group is the nodes of one kind.
type group struct {
	kind kind
	flag string
	size int
}

// groups come one after another at the end of the numbers. New kinds go last:
// tests know nodes of the others by name.
func (p Plan) groups() []group {
	return []group{
		{old, "old", p.Old},
		{cordoned, "cordoned", p.Cordoned},
		{tainted, "tainted", p.Tainted},
		{notReady, "not-ready", p.NotReady},
		{arm64, "arm64", p.Arm64},
		{windows, "windows", p.Windows},
		{virtual, "virtual", p.Virtual},
		{noExecute, "no-execute", p.NoExecute},
		{preferNoSchedule, "prefer-no-schedule", p.PreferNoSchedule},
		{longName, "long-names", p.LongNames},
		{dottedName, "dotted-names", p.DottedNames},
	}
}

// Check says what is wrong with a plan.
func (p Plan) Check() error {
	special := 0
	var used []string
	for _, g := range append(p.groups(), group{flag: "nodes", size: p.Total}, group{flag: "images-per-node", size: p.ImagesPerNode}) {
		if g.size < 0 {
			return fmt.Errorf("--%s is %d; use 0 or more", g.flag, g.size)
		}
		if g.kind != plain && g.size > 0 {
			special += g.size
			used = append(used, "--"+g.flag)
		}
	}
	if p.Total > most {
		return fmt.Errorf("--nodes is %d; use at most %d", p.Total, most)
	}
	if special > p.Total {
		return fmt.Errorf("%s ask for %d nodes of %d; raise --nodes", strings.Join(used, ", "), special, p.Total)
	}
	return nil
}

// kindOf places node i, counted from 1.
func (p Plan) kindOf(i int) kind {
	groups := p.groups()
	last := p.Total
	for k := len(groups) - 1; k >= 0; k-- {
		if i > last-groups[k].size {
			return groups[k].kind
		}
		last -= groups[k].size
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
