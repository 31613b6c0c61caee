package nodes

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// apply makes a plain node one of another kind.
func (k kind) apply(node *corev1.Node) {
	info := &node.Status.NodeInfo
	switch k {
	case old:
		info.KubeletVersion, info.ContainerRuntimeVersion = oldKubelet, oldContainerd
	case cordoned:
		node.Spec.Unschedulable = true
		taint(node, corev1.TaintNodeUnschedulable, "", corev1.TaintEffectNoSchedule)
	case tainted:
		taint(node, "dedicated", "batch", corev1.TaintEffectNoSchedule)
	case noExecute:
		taint(node, "dedicated", "evict", corev1.TaintEffectNoExecute)
	case preferNoSchedule:
		taint(node, "dedicated", "spare", corev1.TaintEffectPreferNoSchedule)
	case notReady:
		node.Annotations[DownAnnotation] = "true"
		taint(node, corev1.TaintNodeNotReady, "", corev1.TaintEffectNoSchedule)
		taint(node, corev1.TaintNodeNotReady, "", corev1.TaintEffectNoExecute)
	case arm64:
		setPlatform(node, "linux", "arm64")
		for have, instead := range map[string]string{"AESNI": "AES", "AVX2": "ASIMD"} {
			delete(node.Labels, cpuFeature+have)
			node.Labels[cpuFeature+instead] = "true"
		}
	case windows:
		setPlatform(node, "windows", "amd64")
		info.OSImage, info.KernelVersion = "Windows Server 2022 Datacenter", "10.0.20348.3328"
		node.Labels["node.kubernetes.io/windows-build"] = "10.0.20348"
	case virtual:
		// As the Azure provider of virtual-kubelet registers: no machine, no
		// container runtime, no image list.
		taint(node, "virtual-kubelet.io/provider", "azure", corev1.TaintEffectNoSchedule)
		node.Labels["type"] = "virtual-kubelet"
		node.Labels["kubernetes.io/role"] = "agent"
		node.Status.Images = nil
		*info = corev1.NodeSystemInfo{
			KubeletVersion: "v1.33.5-vk-azure-aci-1.6.2", OperatingSystem: "linux", Architecture: "amd64",
		}
	}
}

// name is what a node of this kind is called, from its plain name and its
// address.
func (k kind) name(short, address string) string {
	switch k {
	case longName:
		return longest(short)
	case dottedName:
		// As instances of a large cloud are called.
		return "ip-" + strings.ReplaceAll(address, ".", "-") + ".eu-central-1.compute.internal"
	default:
		return short
	}
}

// longest lengthens a name to the 253 characters that a node's may have, in
// parts of at most 63 as DNS has them.
func longest(name string) string {
	for len(name) < validation.DNS1123SubdomainMaxLength {
		left := validation.DNS1123SubdomainMaxLength - len(name) - 1
		part := min(left, validation.DNS1123LabelMaxLength)
		if left-part == 1 {
			part-- // a part needs its dot and a character
		}
		name += "." + strings.Repeat("n", part)
	}
	return name
}

func taint(node *corev1.Node, key, value string, effect corev1.TaintEffect) {
	node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: key, Value: value, Effect: effect})
}

func setPlatform(node *corev1.Node, os, arch string) {
	node.Status.NodeInfo.OperatingSystem, node.Status.NodeInfo.Architecture = os, arch
	for _, prefix := range []string{"", "beta."} {
		node.Labels[prefix+corev1.LabelOSStable] = os
		node.Labels[prefix+corev1.LabelArchStable] = arch
	}
}
