package nodes

import (
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
	for _, bad := range []Plan{{Total: -1}, {Total: most + 1}, {Total: 3, Old: 2, NotReady: 2}, {Total: 3, Tainted: -1}} {
		if bad.Check() == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
	if err := (Plan{Prefix: "node", Total: 3, Cordoned: 3}).Check(); err != nil {
		t.Errorf("a good plan was refused: %v", err)
	}
}
