// Package realnode is what a node that really pulls and really runs containers is
// made of: kubelet, kube-proxy, containerd and runc. Each node has a network, a
// mount, a process and a UTS namespace of its own, so that ending the first process
// of a node ends all others and takes every mount with it. What is left are its
// cgroups, which the bed's reaper removes.
package realnode
