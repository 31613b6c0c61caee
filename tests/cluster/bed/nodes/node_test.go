package nodes

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

func TestEveryNodeHas28ValidLabels(t *testing.T) {
	for _, node := range (Plan{Prefix: "node", Total: 120, Old: 20, NotReady: 10}).Build() {
		if got := len(node.Labels); got != 28 {
			t.Errorf("%s has %d labels, want 28", node.Name, got)
		}
		for key, value := range node.Labels {
			problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...)
			if len(problems) > 0 {
				t.Errorf("%s: label %s=%s: %v", node.Name, key, value, problems)
			}
		}
	}
}

func TestGroupsArePartOfTheTotalAndDoNotOverlap(t *testing.T) {
	built := Plan{Prefix: "n", Total: 20, Old: 1, Cordoned: 2, Tainted: 3, NotReady: 4}.Build()
	var olds, cordons, taints, downs, gpus int
	for _, node := range built {
		marks := 0
		for _, group := range []struct {
			in    bool
			count *int
		}{
			{node.Status.NodeInfo.KubeletVersion == oldKubelet, &olds},
			{node.Spec.Unschedulable, &cordons},
			{len(node.Spec.Taints) > 0 && node.Spec.Taints[0].Key == "dedicated", &taints},
			{node.Annotations[DownAnnotation] == "true", &downs},
		} {
			if group.in {
				*group.count++
				marks++
			}
		}
		if marks > 1 {
			t.Errorf("%s is in %d groups", node.Name, marks)
		}
		if node.Labels["gpu"] == "true" {
			gpus++
		}
	}
	if len(built) != 20 || olds != 1 || cordons != 2 || taints != 3 || downs != 4 || gpus != 2 {
		t.Errorf("got %d nodes: %d old, %d cordoned, %d tainted, %d down, %d gpu", len(built), olds, cordons, taints, downs, gpus)
	}
	if first := built[0]; first.Name != "n-001" || first.Labels["zone"] != "fra" || built[1].Labels["zone"] != "ams" {
		t.Errorf("first node is %s in %s", first.Name, first.Labels["zone"])
	}
}

func TestImagesHaveTwoNamesLargestFirst(t *testing.T) {
	list := Plan{Prefix: "n", Total: 1, ImagesPerNode: 5}.Build()[0].Status.Images
	if len(list) != 5 {
		t.Fatalf("got %d images, want 5", len(list))
	}
	for i, image := range list {
		if len(image.Names) != 2 {
			t.Errorf("image %d has %d names", i, len(image.Names))
		}
		if i > 0 && image.SizeBytes >= list[i-1].SizeBytes {
			t.Errorf("image %d is not smaller than the one before", i)
		}
	}
}

func TestAddressesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, node := range (Plan{Prefix: "n", Total: most}).Build() {
		for _, address := range node.Status.Addresses {
			if address.Type == corev1.NodeInternalIP && seen[address.Address] {
				t.Fatalf("%s has an address that is taken: %s", node.Name, address.Address)
			}
			seen[address.Address] = true
		}
	}
}

func TestPlansThatCannotBeAreRefused(t *testing.T) {
	for _, bad := range []Plan{
		{Total: -1}, {Total: most + 1}, {Total: 3, Old: 2, NotReady: 2}, {Total: 3, Tainted: -1},
		{Total: 3, Arm64: 2, DottedNames: 2}, {Total: 3, ImagesPerNode: -1},
	} {
		if bad.Check() == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
	if err := (Plan{Prefix: "node", Total: 3, Cordoned: 3}).Check(); err != nil {
		t.Errorf("a good plan was refused: %v", err)
	}
}

// one builds the only node of a plan.
func one(p Plan) *corev1.Node {
	p.Prefix, p.Total = "node", 1
	return p.Build()[0]
}

func TestPlatforms(t *testing.T) {
	for _, test := range []struct {
		plan     Plan
		os, arch string
	}{
		{Plan{}, "linux", "amd64"},
		{Plan{Arm64: 1}, "linux", "arm64"},
		{Plan{Windows: 1}, "windows", "amd64"},
		{Plan{Virtual: 1}, "linux", "amd64"},
	} {
		node := one(test.plan)
		info := node.Status.NodeInfo
		if info.OperatingSystem != test.os || node.Labels["kubernetes.io/os"] != test.os || node.Labels["beta.kubernetes.io/os"] != test.os {
			t.Errorf("%+v: system is %s, labels %v", test.plan, info.OperatingSystem, node.Labels)
		}
		if info.Architecture != test.arch || node.Labels["kubernetes.io/arch"] != test.arch || node.Labels["beta.kubernetes.io/arch"] != test.arch {
			t.Errorf("%+v: architecture is %s, labels %v", test.plan, info.Architecture, node.Labels)
		}
	}
}

func TestTaints(t *testing.T) {
	for _, test := range []struct {
		plan Plan
		want string
	}{
		{Plan{}, ""},
		{Plan{Tainted: 1}, "dedicated=batch:NoSchedule"},
		{Plan{NoExecute: 1}, "dedicated=evict:NoExecute"},
		{Plan{PreferNoSchedule: 1}, "dedicated=spare:PreferNoSchedule"},
		{Plan{Virtual: 1}, "virtual-kubelet.io/provider=azure:NoSchedule"},
	} {
		got := ""
		for _, taint := range one(test.plan).Spec.Taints {
			got += taint.ToString()
		}
		if got != test.want {
			t.Errorf("%+v: taints %q, want %q", test.plan, got, test.want)
		}
	}
}

func TestLongAndDottedNamesAreValid(t *testing.T) {
	if got := one(Plan{DottedNames: 1}).Name; got != "ip-10-64-0-1.eu-central-1.compute.internal" {
		t.Errorf("dotted name: %s", got)
	}
	for length := 1; length <= 63; length++ {
		name := longest(strings.Repeat("a", length))
		if problems := validation.IsDNS1123Subdomain(name); len(name) != 253 || len(problems) > 0 {
			t.Errorf("a name of %d became one of %d: %v", length, len(name), problems)
		}
	}
	seen := map[string]bool{}
	for _, node := range (Plan{Prefix: "node", Total: 120, LongNames: 60, DottedNames: 60}).Build() {
		hostname := node.Labels["kubernetes.io/hostname"]
		if seen[node.Name] || seen[hostname] {
			t.Errorf("twice: %s, %s", node.Name, hostname)
		}
		seen[node.Name] = true
		for _, part := range strings.Split(node.Name, ".") {
			if problems := validation.IsDNS1123Label(part); len(problems) > 0 {
				t.Errorf("%s: part %q: %v", node.Name, part, problems)
			}
		}
		if problems := validation.IsValidLabelValue(hostname); len(problems) > 0 {
			t.Errorf("%s: label %q: %v", node.Name, hostname, problems)
		}
	}
}

func TestNewKindsLeaveTheNamesOfTheOthersAlone(t *testing.T) {
	for _, node := range (Plan{Prefix: "node", Total: 9, Cordoned: 1, NotReady: 1, Arm64: 1, Windows: 1}).Build() {
		cordoned, down := node.Spec.Unschedulable, node.Annotations[DownAnnotation] == "true"
		if cordoned != (node.Name == "node-006") || down != (node.Name == "node-007") {
			t.Errorf("%s: cordoned %t, down %t", node.Name, cordoned, down)
		}
	}
}

func TestRealisticNodesReport50Images(t *testing.T) {
	for _, test := range []struct {
		plan Plan
		want int
	}{{Plan{}, 0}, {Plan{Realistic: true}, 50}, {Plan{Realistic: true, ImagesPerNode: 7}, 7}} {
		if got := len(one(test.plan).Status.Images); got != test.want {
			t.Errorf("%+v: %d images, want %d", test.plan, got, test.want)
		}
	}
}
