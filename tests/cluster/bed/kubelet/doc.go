// Package kubelet plays the kubelets of simulated nodes: it takes each pod
// bound to one of them through the states a real kubelet would report, but
// pulls no byte and starts no process. What becomes of a pull is chosen by the
// image reference (see ByReference).
//
// The order of things follows Kubernetes 1.37: pkg/kubelet/kuberuntime
// (SyncPod, getImageVolumes, startContainer), pkg/kubelet/images
// (EnsureImageExists), pkg/kubelet/kubelet_pods.go (getPhase) and
// pkg/kubelet/status (TerminatePod).
package kubelet
