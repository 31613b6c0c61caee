package nodes

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation"
)

// The versions nodes report: those of the bed itself, and for old nodes a pair
// without image volumes, which need Kubernetes 1.35 and containerd 2.1.
const (
	newKubelet, newContainerd = "v1.37.2", "containerd://2.4.2"
	oldKubelet, oldContainerd = "v1.33.5", "containerd://1.7.27"
)

func (p Plan) node(i int) *corev1.Node {
	is := p.kindOf(i)
	short := fmt.Sprintf("%s-%03d", p.Prefix, i)
	address := fmt.Sprintf("10.%d.%d.%d", 64+i>>16, i>>8&0xff, i&0xff)
	name := is.name(short, address)
	hostname := name
	if len(hostname) > validation.LabelValueMaxLength {
		hostname = short
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Labels:      labels(hostname, i),
			Annotations: map[string]string{FakeAnnotation: "fake", "node.alpha.kubernetes.io/ttl": p.objectTTL()},
		},
		Spec: corev1.NodeSpec{ProviderID: "bed://" + zoneOf(i) + "/" + name},
		Status: corev1.NodeStatus{
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: address},
				{Type: corev1.NodeHostName, Address: name},
			},
			Capacity:    resources("8", "32882604Ki", "103079844Ki"),
			Allocatable: resources("7910m", "31730604Ki", "94998384384"),
			NodeInfo:    system(newKubelet, newContainerd),
			Images:      images(p.imagesPerNode()),
		},
	}
	is.apply(node)
	return node
}

// mostImages is how many images a kubelet reports (nodeStatusMaxImages).
const mostImages = 50

func (p Plan) imagesPerNode() int {
	if p.Realistic && p.ImagesPerNode == 0 {
		return mostImages
	}
	return p.ImagesPerNode
}

// objectTTL is what the TTL controller writes on each node of a cluster of this
// size (pkg/controller/ttl); finding it there, it has nothing to write.
func (p Plan) objectTTL() string {
	switch {
	case p.Total <= 100:
		return "0"
	case p.Total <= 500:
		return "15"
	case p.Total <= 1000:
		return "30"
	case p.Total <= 2000:
		return "60"
	default:
		return "300"
	}
}

func system(kubelet, runtime string) corev1.NodeSystemInfo {
	return corev1.NodeSystemInfo{
		MachineID:               string(uuid.NewUUID()),
		SystemUUID:              string(uuid.NewUUID()),
		BootID:                  string(uuid.NewUUID()),
		KernelVersion:           kernelVersion,
		OSImage:                 "Debian GNU/Linux 13 (trixie)",
		ContainerRuntimeVersion: runtime,
		KubeletVersion:          kubelet,
		OperatingSystem:         "linux",
		Architecture:            "amd64",
	}
}

// pods is the kubelet's default maxPods.
const pods = "110"

func resources(cpu, memory, disk string) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse(cpu),
		corev1.ResourceMemory:           resource.MustParse(memory),
		corev1.ResourceEphemeralStorage: resource.MustParse(disk),
		corev1.ResourcePods:             resource.MustParse(pods),
		"hugepages-1Gi":                 resource.MustParse("0"),
		"hugepages-2Mi":                 resource.MustParse("0"),
	}
}
