package nodes

import "strconv"

// Debian writes a plus, which labels do not allow, for the first hyphen.
const kernelVersion = "6.12.57-deb13-amd64"

// cpuFeature begins the labels that feature discovery sets for instructions.
const cpuFeature = "feature.node.kubernetes.io/cpu-cpuid."

// zones are cycled through, so that any run of nodes is spread over all.
var zones = []string{"fra", "ams", "lon"}

func zoneOf(i int) string { return zones[(i-1)%len(zones)] }

// labels gives each node 28 of them, about as many as managed clusters with
// feature discovery set: enough for a client to notice what reading all costs.
// The beta.kubernetes.io ones would otherwise be added by the node lifecycle
// controller, with one more write a node.
func labels(hostname string, i int) map[string]string {
	zone := zoneOf(i)
	set := map[string]string{
		"kubernetes.io/hostname": hostname,
		"kubernetes.io/os":       "linux",
		"kubernetes.io/arch":     "amd64",

		"beta.kubernetes.io/os":            "linux",
		"beta.kubernetes.io/arch":          "amd64",
		"beta.kubernetes.io/instance-type": "m-8x32",

		"node.kubernetes.io/instance-type": "m-8x32",
		"node-role.kubernetes.io/worker":   "",

		"topology.kubernetes.io/region":            "eu",
		"topology.kubernetes.io/zone":              zone,
		"failure-domain.beta.kubernetes.io/region": "eu",
		"failure-domain.beta.kubernetes.io/zone":   zone,

		"zone":        zone,
		"rack":        "r" + strconv.Itoa((i-1)/20+1),
		"environment": "test",
		"storage":     "local-nvme",

		"nodes.example.com/pool":         "workers",
		"nodes.example.com/lifecycle":    "on-demand",
		"nodes.example.com/image-family": "debian-13",
		"storage.example.com/csi":        "enabled",

		cpuFeature + "AESNI": "true",
		cpuFeature + "AVX2":  "true",
		"feature.node.kubernetes.io/cpu-hardware_multithreading":  "true",
		"feature.node.kubernetes.io/kernel-version.full":          kernelVersion,
		"feature.node.kubernetes.io/kernel-version.major":         "6",
		"feature.node.kubernetes.io/system-os_release.ID":         "debian",
		"feature.node.kubernetes.io/system-os_release.VERSION_ID": "13",
	}
	if i%10 == 0 {
		set["gpu"] = "true"
	} else {
		set["nodes.example.com/accelerator"] = "none"
	}
	return set
}
